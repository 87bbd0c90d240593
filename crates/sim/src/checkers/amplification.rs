//! Z3, as far as it goes without keys: whoever has proven nothing is answered so often and no more, wherever its questions seem to come from.
//!
//! A question of 60 bytes is answered with up to 1,232. All senders that a node does not know share one allowance: so many at once, and so many per
//! second. Beside the answers there are the node's own questions to them, of which few are under way at a time.

use std::collections::BTreeMap;

use slimcluster_core::{Instant, NodeId};

use super::{Verdict, Violation};
use crate::network::Endpoint;

/// Answers at once: what a node handles of all strangers in a burst (512), and some questions of its own.
const BURST_MAX: u64 = 512 + 64;
/// One more in so many microseconds: 500 answers per second, and 50 questions.
const EVERY_MICROS: u64 = 1_818;

/// What each process may still send to addresses of nobody.
#[derive(Debug, Default)]
pub struct Amplification {
    /// By process and id: under a new id it knows nobody, and nobody has asked it.
    left: BTreeMap<(Endpoint, NodeId), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    datagrams: u64,
    filled_at: u64,
}

impl Amplification {
    /// A process sends a datagram to an address at which nobody has ever proven anything. `now`: by its own clock.
    pub fn on_datagram(&mut self, endpoint: Endpoint, node: NodeId, now: Instant) -> Verdict {
        let now = now.as_micros();
        let bucket = self.left.entry((endpoint, node)).or_insert(Bucket { datagrams: BURST_MAX, filled_at: now });
        let earned = (now - bucket.filled_at) / EVERY_MICROS;
        bucket.datagrams = bucket.datagrams.saturating_add(earned).min(BURST_MAX);
        bucket.filled_at += earned * EVERY_MICROS;
        match bucket.datagrams.checked_sub(1) {
            Some(left) => {
                bucket.datagrams = left;
                Ok(())
            }
            None => {
                let detail = format!("n{} answers whoever asks, without a limit", endpoint.place + 1);
                Err(Violation::of("no amplification", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_a_flood_is_not() {
        let (mut checker, endpoint) = (Amplification::default(), Endpoint { place: 0, start: 1 });
        let mut answer = |micros| checker.on_datagram(endpoint, NodeId(1), Instant::from_micros(micros));
        (0..BURST_MAX).for_each(|_| answer(0).unwrap());
        assert!(answer(EVERY_MICROS - 1).is_err());
        answer(EVERY_MICROS).unwrap();
        assert!(answer(EVERY_MICROS).is_err());
        (1..BURST_MAX).for_each(|step| answer((1 + step) * EVERY_MICROS).unwrap());
    }
}
