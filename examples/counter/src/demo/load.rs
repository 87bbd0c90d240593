//! Clients that count up without a pause and remember every answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http::{Client, Failure};

/// Enough to keep the log busy, few enough to leave two cores for the nodes.
pub const CLIENTS: usize = 8;
/// Longer than a node takes to give up (6 s), so that its answer is seen.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After a refusal: the cluster needs a moment to find its next leader.
const PAUSE: Duration = Duration::from_millis(20);

/// An increment that was answered with the new value.
pub struct Acknowledged {
    /// When the request was sent.
    pub sent: Instant,
    /// How long the answer took.
    pub after: Duration,
    /// The value that it answered.
    pub value: i64,
}

/// What the clients saw.
#[derive(Default)]
pub struct Tally {
    /// The increments that took place.
    pub acknowledged: Vec<Acknowledged>,
    /// How many certainly did not.
    pub refused: u64,
    /// How many may have.
    pub unknown: u64,
}

/// The clients at work.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets [`CLIENTS`] clients send increments to the node at `addr`.
    pub fn start(addr: SocketAddr) -> Load {
        let (tally, stop) = (Arc::<Mutex<Tally>>::default(), Arc::<AtomicBool>::default());
        let clients = (0..CLIENTS)
            .map(|_| {
                let (tally, stop) = (tally.clone(), stop.clone());
                thread::spawn(move || count(addr, &tally, &stop))
            })
            .collect();
        Load { tally, stop, clients }
    }

    /// How many increments have been acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        with(&self.tally, |tally| tally.acknowledged.len())
    }

    /// How long after `moment` the first increment was acknowledged that was sent after it; none so far if none was.
    pub fn first_acknowledged_after(&self, moment: Instant) -> Option<Duration> {
        with(&self.tally, |tally| {
            let later = tally.acknowledged.iter().filter(|ack| ack.sent > moment);
            later.map(|ack| ack.sent + ack.after - moment).min()
        })
    }

    /// Waits for the answers that are still due and returns what the clients saw.
    ///
    /// # Errors
    /// When a client broke down, so that its answers are not all known.
    pub fn stop(self) -> Result<Tally, String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().map_err(|_| "a client of the demo broke down")?;
        }
        Ok(with(&self.tally, std::mem::take))
    }
}

fn count(addr: SocketAddr, tally: &Mutex<Tally>, stop: &AtomicBool) {
    let mut client = Client::new(addr, TIMEOUT);
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let answer = client.call("POST", "/counter/increment");
        let after = sent.elapsed();
        let value =
            answer.as_ref().ok().filter(|answer| answer.status == 200).and_then(|answer| answer.body.parse().ok());
        let refused = match &answer {
            Ok(answer) => answer.status == 503,
            Err(failure) => matches!(failure, Failure::NotSent(_)),
        };
        with(tally, |tally| match value {
            Some(value) => tally.acknowledged.push(Acknowledged { sent, after, value }),
            None if refused => tally.refused += 1,
            None => tally.unknown += 1,
        });
        if value.is_none() {
            thread::sleep(PAUSE);
        }
    }
}

/// No client holds the lock across anything that can fail, so what it guards is whole even then.
fn with<T>(tally: &Mutex<Tally>, act: impl FnOnce(&mut Tally) -> T) -> T {
    act(&mut tally.lock().unwrap_or_else(PoisonError::into_inner))
}
