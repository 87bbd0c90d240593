//! The requests that the core has, each with the task that waits for its answer.

use std::collections::HashMap;

use slimcluster_core::Index;
use slimcluster_core::node::io::{Outcome, Refused, RequestId};
use tokio::sync::oneshot;

/// Who waits for what. Bounded by the core, which answers each request, at once when it has too many.
#[derive(Default)]
pub(super) struct Answers {
    last: u64,
    submits: HashMap<RequestId, oneshot::Sender<Outcome>>,
    reads: HashMap<RequestId, oneshot::Sender<Result<Index, Refused>>>,
}

impl Answers {
    pub fn submit(&mut self, answer: oneshot::Sender<Outcome>) -> RequestId {
        let request = self.next();
        self.submits.insert(request, answer);
        request
    }

    pub fn read(&mut self, answer: oneshot::Sender<Result<Index, Refused>>) -> RequestId {
        let request = self.next();
        self.reads.insert(request, answer);
        request
    }

    pub fn submitted(&mut self, request: RequestId, outcome: Outcome) {
        if let Some(answer) = self.submits.remove(&request) {
            // Whoever has stopped waiting needs no answer.
            let _ = answer.send(outcome);
        }
    }

    pub fn read_ready(&mut self, request: RequestId, index: Result<Index, Refused>) {
        if let Some(answer) = self.reads.remove(&request) {
            let _ = answer.send(index);
        }
    }

    fn next(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }
}
