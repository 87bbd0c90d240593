//! What can be set, with the reason beside each bound.

use std::time::Duration;

/// The options of one Raft group. Every node of a cluster should run with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The leader speaks to every peer at least this often.
    pub heartbeat_interval: Duration,
    /// A follower waits at least this long for its leader before it asks for pre-votes; it refuses (pre-)votes for as long
    /// after it has heard from a leader.
    pub election_timeout_min: Duration,
    /// A follower waits at most this long; a leader that misses a quorum for as long steps down.
    pub election_timeout_max: Duration,
    /// The largest command, in bytes. Checked before anything is written, so that no entry can wedge replication.
    pub entry_bytes_max: usize,
    /// Runs of one AppendEntries, in encoded bytes; one entry is always sent. Keeps a message well within what a receiver assembles.
    pub append_bytes_max: usize,
    /// Unanswered AppendEntries with runs per peer: the pipeline's depth.
    pub inflight_messages_max: usize,
    /// Bytes in unanswered AppendEntries per peer: what a slow or dead peer can hold in buffers.
    pub inflight_bytes_max: usize,
    /// Bytes proposed by this leader that are not yet both committed and durable here; beyond it proposals are `Overloaded`.
    pub uncommitted_bytes_max: usize,
    /// Bytes of recent runs kept in memory; older ones are fetched from storage. Entries that are not durable yet are kept beyond it.
    pub cache_bytes_max: usize,
    /// Bytes handed over to apply that are not yet both applied and durable here (rule 11).
    pub apply_bytes_max: usize,
    /// Reads that wait for a round; beyond it reads are `Overloaded`.
    pub reads_max: usize,
}

/// An option that cannot work, in words for the person who set it. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {reason}")]
pub struct OptionsError {
    /// The option.
    pub option: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl Options {
    /// For one data centre or one machine.
    pub fn lan() -> Self {
        Options {
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(200),
            election_timeout_max: Duration::from_millis(400),
            entry_bytes_max: 5 << 18,
            append_bytes_max: 1 << 20,
            inflight_messages_max: 64,
            inflight_bytes_max: 8 << 20,
            uncommitted_bytes_max: 64 << 20,
            cache_bytes_max: 32 << 20,
            apply_bytes_max: 4 << 20,
            reads_max: 1 << 16,
        }
    }

    /// For nodes far apart: round trips of up to about 200 ms.
    pub fn wan() -> Self {
        Options {
            heartbeat_interval: Duration::from_millis(250),
            election_timeout_min: Duration::from_secs(1),
            election_timeout_max: Duration::from_secs(2),
            ..Options::lan()
        }
    }

    /// Refuses what cannot work.
    pub fn validated(self) -> Result<Self, OptionsError> {
        let refuse = |option, reason: String| Err(OptionsError { option, reason });
        if self.heartbeat_interval < Duration::from_millis(1) {
            return refuse("heartbeat_interval", format!("is {:?}; it must be at least 1ms", self.heartbeat_interval));
        }
        if self.election_timeout_min < self.heartbeat_interval * 2 {
            return refuse(
                "election_timeout_min",
                format!(
                    "is {:?}; it must be at least twice the heartbeat interval of {:?}, or healthy leaders are deposed",
                    self.election_timeout_min, self.heartbeat_interval
                ),
            );
        }
        if self.election_timeout_max < self.election_timeout_min + self.heartbeat_interval {
            return refuse(
                "election_timeout_max",
                format!(
                    "is {:?}; it must exceed election_timeout_min ({:?}) by a heartbeat interval or more, or votes split for ever",
                    self.election_timeout_max, self.election_timeout_min
                ),
            );
        }
        if self.election_timeout_max > Duration::from_secs(600) {
            return refuse(
                "election_timeout_max",
                format!("is {:?}; it must be at most 10min", self.election_timeout_max),
            );
        }
        let sizes = [
            ("entry_bytes_max", self.entry_bytes_max, 2 << 20),
            ("append_bytes_max", self.append_bytes_max, 2 << 20),
            ("inflight_messages_max", self.inflight_messages_max, 1 << 16),
            ("inflight_bytes_max", self.inflight_bytes_max, 1 << 30),
            ("uncommitted_bytes_max", self.uncommitted_bytes_max, 1 << 30),
            ("cache_bytes_max", self.cache_bytes_max, usize::MAX),
            ("apply_bytes_max", self.apply_bytes_max, 1 << 30),
            ("reads_max", self.reads_max, 1 << 24),
        ];
        for (option, value, highest) in sizes {
            if value == 0 || value > highest {
                return refuse(option, format!("is {value}; it must lie between 1 and {highest}"));
            }
        }
        Ok(self)
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::lan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid_and_absurd_options_are_named() {
        assert!(Options::lan().validated().is_ok());
        assert!(Options::wan().validated().is_ok());
        let millis = Duration::from_millis;
        let broken = [
            Options { heartbeat_interval: Duration::ZERO, ..Options::lan() },
            Options { election_timeout_min: millis(60), ..Options::lan() },
            Options { election_timeout_max: millis(200), ..Options::lan() },
            Options { election_timeout_max: Duration::from_secs(3600), ..Options::lan() },
            Options { entry_bytes_max: 0, ..Options::lan() },
            Options { entry_bytes_max: 1 << 30, ..Options::lan() },
            Options { inflight_messages_max: 0, ..Options::lan() },
        ];
        for options in broken {
            assert!(!options.validated().unwrap_err().to_string().is_empty());
        }
    }
}
