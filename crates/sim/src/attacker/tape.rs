//! What the attacker has heard: a sample of everything, old and new alike.

use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::message::Hello;
use slimcluster_core::random::Random;

/// Things of a kind that are kept: enough that a copy is seldom of something recent.
const KEPT_MAX: usize = 256;

/// Something that was heard, and when.
#[derive(Clone, Debug)]
pub(super) struct Heard<T> {
    pub(super) at: u64,
    pub(super) what: T,
}

/// A uniform sample of everything that was offered.
#[derive(Debug)]
pub(super) struct Sample<T> {
    kept: Vec<T>,
    offered: u64,
}

impl<T> Sample<T> {
    fn offer(&mut self, rng: &mut Random, item: T) {
        self.offered += 1;
        if self.kept.len() < KEPT_MAX {
            self.kept.push(item);
        } else if let Some(kept) = self.kept.get_mut(rng.below(self.offered) as usize) {
            *kept = item;
        }
    }

    pub(super) fn pick(&self, rng: &mut Random) -> Option<&T> {
        rng.pick(&self.kept)
    }
}

impl<T> Default for Sample<T> {
    fn default() -> Self {
        Sample { kept: Vec::new(), offered: 0 }
    }
}

/// Everything that is kept.
#[derive(Debug)]
pub(super) struct Tape {
    rng: Random,
    /// Datagrams, with their senders.
    pub(super) datagrams: Sample<Heard<(SocketAddr, Bytes)>>,
    /// Frames, greetings aside.
    pub(super) frames: Sample<Bytes>,
    /// Greetings of formed nodes.
    pub(super) greetings: Sample<Hello>,
}

impl Tape {
    pub(super) fn new(rng: Random) -> Self {
        Tape { rng, datagrams: Sample::default(), frames: Sample::default(), greetings: Sample::default() }
    }

    pub(super) fn hear_datagram(&mut self, now: u64, from: SocketAddr, bytes: Bytes) {
        self.datagrams.offer(&mut self.rng, Heard { at: now, what: (from, bytes) });
    }

    pub(super) fn hear_frame(&mut self, frame: Bytes) {
        self.frames.offer(&mut self.rng, frame);
    }

    pub(super) fn hear_greeting(&mut self, hello: &Hello) {
        if hello.uuid.is_some() {
            self.greetings.offer(&mut self.rng, hello.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_are_kept_alike_and_no_more_than_so_many() {
        let (mut rng, mut sample) = (Random::new(1), Sample::default());
        (0..10_000_u64).for_each(|item| sample.offer(&mut rng, item));
        assert_eq!(sample.kept.len(), KEPT_MAX);
        assert!(sample.kept.iter().any(|item| *item < 1_000) && sample.kept.iter().any(|item| *item > 9_000));
    }
}
