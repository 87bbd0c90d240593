//! Asking the discovery sources for addresses.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slimcluster_core::node::io::Input;

use super::event_loop::Arrivals;
use crate::discovery::Discover;

/// The sources of a node.
pub(super) struct Sources {
    sources: Rc<[Source]>,
    running: Rc<RefCell<bool>>,
    arrivals: Arrivals,
}

struct Source {
    discover: Arc<dyn Discover>,
    /// What went wrong last time: said to people once, until it changes.
    problem: RefCell<Option<String>>,
}

impl Sources {
    pub fn new(sources: Vec<Arc<dyn Discover>>, arrivals: Arrivals) -> Self {
        let sources = sources.into_iter().map(|discover| Source { discover, problem: RefCell::new(None) }).collect();
        Sources { sources, running: Rc::default(), arrivals }
    }

    /// Asks all sources; the answer arrives as one input. A question that is still under way answers this one, too.
    pub fn ask(&self) {
        if self.running.replace(true) {
            return;
        }
        let (sources, running, arrivals) = (Rc::clone(&self.sources), Rc::clone(&self.running), self.arrivals.clone());
        tokio::task::spawn_local(async move {
            let _running = Running(running);
            let mut found: Vec<SocketAddr> = Vec::new();
            for source in sources.iter() {
                found.extend(source.ask().await);
            }
            found.sort_unstable();
            found.dedup();
            found.truncate(ADDRESSES_MAX);
            arrivals.push(Input::Discovered(found));
        });
    }
}

/// A question is under way; also over when a source of the application panics.
struct Running(Rc<RefCell<bool>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.replace(false);
    }
}

impl Source {
    async fn ask(&self) -> Vec<SocketAddr> {
        let answer = tokio::time::timeout(ANSWER_WAIT_MAX, self.discover.discover()).await;
        let (found, problem) = match answer {
            Ok(Ok(found)) => (found, None),
            Ok(Err(problem)) => (Vec::new(), Some(problem)),
            Err(_) => (Vec::new(), Some(format!("no answer within {ANSWER_WAIT_MAX:?}"))),
        };
        let before = self.problem.replace(problem.clone());
        match problem {
            Some(problem) if before.as_ref() != Some(&problem) => {
                tracing::warn!("{} gave no address: {problem}; trying again", self.discover.describe());
            }
            None if before.is_some() => tracing::info!("{} answers again", self.discover.describe()),
            _ => {}
        }
        found
    }
}

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
// Any one member that answers is enough.
const ADDRESSES_MAX: usize = 512;
