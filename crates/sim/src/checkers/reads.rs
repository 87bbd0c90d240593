//! Reads in real time (R9), by log index: a read that begins after something was acknowledged, or was read, sees at least that.
//!
//! The registers judge the same by what clients see; this judges every read of every workload, with one comparison.

use slimcluster_core::Index;

use super::{Verdict, Violation};

/// What clients have seen, and since when.
#[derive(Debug, Default)]
pub struct Reads {
    /// (time, index): from then on a client knew of this index. Both rise.
    seen: Vec<(u64, Index)>,
}

impl Reads {
    /// At `now` a client was told of the effect of everything up to `index`.
    pub fn on_seen(&mut self, now: u64, index: Index) {
        if self.seen.last().is_none_or(|(_, highest)| *highest < index) {
            self.seen.push((now, index));
        }
    }

    /// A read that began at `began` may see everything up to `index`.
    pub fn on_read_index(&self, began: u64, index: Index) -> Verdict {
        // Of what happened within the same microsecond the order is not known.
        let earlier = self.seen.partition_point(|(at, _)| *at < began);
        match earlier.checked_sub(1).and_then(|last| self.seen.get(last)) {
            Some((at, floor)) if index < *floor => {
                let detail = format!("a read that began at {began} us sees up to {index}; {floor} was seen at {at} us");
                Err(Violation::of("linearizable reads", detail))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_below_what_was_seen_before_it_began_is_found() {
        let mut reads = Reads::default();
        reads.on_read_index(5, Index(0)).unwrap();
        reads.on_seen(10, Index(4));
        reads.on_seen(20, Index(3));
        reads.on_seen(30, Index(8));
        reads.on_read_index(10, Index(1)).unwrap();
        reads.on_read_index(30, Index(4)).unwrap();
        assert!(reads.on_read_index(25, Index(3)).is_err());
        assert!(reads.on_read_index(31, Index(7)).is_err());
        reads.on_read_index(31, Index(8)).unwrap();
    }
}
