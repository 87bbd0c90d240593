//! What can be set, with the reasons for the bounds.

use std::time::Duration;

/// The timing and the bounds of the failure detector and of dissemination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// One member is probed per interval.
    pub probe_interval: Duration,
    /// After this long without an `Ack`, others are asked to ping. Below `probe_interval`.
    pub probe_timeout: Duration,
    /// How many others are asked: the paper's k.
    pub indirect_probes: usize,
    /// A suspicion lasts `suspicion_mult * max(1, log10 n) * probe_interval`.
    pub suspicion_mult: u32,
    /// An isolated node waits this many times longer before it takes anybody for dead (rule 32).
    pub suspicion_max_mult: u32,
    /// An update is sent `retransmit_mult * ceil(log10(n + 1))` times.
    pub retransmit_mult: u32,
    /// At most this many updates ride on one datagram; none means as many as fit.
    pub piggyback_updates_max: Option<usize>,
    /// The longest datagram sent, in bytes: what IPv6 carries everywhere, less its headers.
    pub datagram_bytes_max: usize,
    /// The mean time between two exchanges of the whole table with a random member; drawn within 50 % of it.
    pub sync_interval: Duration,
    /// The mean time between two tries to reach one dead member or one seed that is not a member; drawn within 50 % of it.
    pub reconnect_interval: Duration,
    /// A node that is alone asks its seeds this often at first, then ever more rarely until `reconnect_interval`.
    pub join_interval: Duration,
    /// How long Dead and Left are remembered: longer than the longest gap in which a stale record may wait somewhere.
    pub tombstone_time: Duration,
    /// The most members and tombstones remembered: a flood of made-up members must not eat the memory.
    pub members_max: usize,
    /// A good-bye is given up after this long without enough acknowledgements.
    pub goodbye_timeout: Duration,
}

impl Options {
    /// For one network with round trips of milliseconds.
    pub fn lan() -> Self {
        Options {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            retransmit_mult: 4,
            piggyback_updates_max: None,
            datagram_bytes_max: 1_232,
            sync_interval: Duration::from_secs(30),
            reconnect_interval: Duration::from_secs(10),
            join_interval: Duration::from_millis(500),
            tombstone_time: Duration::from_secs(24 * 3_600),
            members_max: 16_384,
            goodbye_timeout: Duration::from_millis(500),
        }
    }

    /// For members on several continents.
    pub fn wan() -> Self {
        Options {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 6,
            sync_interval: Duration::from_secs(60),
            reconnect_interval: Duration::from_secs(20),
            join_interval: Duration::from_secs(1),
            goodbye_timeout: Duration::from_secs(1),
            ..Options::lan()
        }
    }

    /// For tests on one machine.
    pub fn local() -> Self {
        Options {
            probe_interval: Duration::from_millis(200),
            probe_timeout: Duration::from_millis(80),
            indirect_probes: 1,
            suspicion_mult: 3,
            sync_interval: Duration::from_secs(5),
            reconnect_interval: Duration::from_secs(1),
            join_interval: Duration::from_millis(100),
            ..Options::lan()
        }
    }

    /// These options, if they make sense.
    pub fn validated(self) -> Result<Self, OptionsError> {
        let error = |option, reason| Err(OptionsError { option, reason });
        if self.probe_interval < Duration::from_millis(10) || self.probe_interval > Duration::from_secs(60) {
            return error("probe_interval", "must be between 10 ms and 60 s");
        }
        if self.probe_timeout.is_zero() || self.probe_timeout >= self.probe_interval {
            return error(
                "probe_timeout",
                "must be above zero and below probe_interval, to leave time for indirect probes",
            );
        }
        if self.indirect_probes > 16 {
            return error("indirect_probes", "must be at most 16: each failed probe costs as many datagrams");
        }
        if !(1..=100).contains(&self.suspicion_mult) {
            return error("suspicion_mult", "must be between 1 and 100");
        }
        if !(1..=100).contains(&self.suspicion_max_mult) {
            return error("suspicion_max_mult", "must be between 1 and 100");
        }
        if !(1..=100).contains(&self.retransmit_mult) {
            return error("retransmit_mult", "must be between 1 and 100");
        }
        if self.piggyback_updates_max == Some(0) {
            return error("piggyback_updates_max", "must be at least 1, or nothing would ever be told");
        }
        if !(1_232..=1_500).contains(&self.datagram_bytes_max) {
            return error(
                "datagram_bytes_max",
                "must be between 1,232 (IPv6 carries it everywhere) and 1,500 (longer ones are dropped)",
            );
        }
        let intervals = [
            ("sync_interval", self.sync_interval),
            ("reconnect_interval", self.reconnect_interval),
            ("join_interval", self.join_interval),
        ];
        for (option, interval) in intervals {
            if interval < Duration::from_millis(10) || interval > Duration::from_secs(3_600) {
                return error(option, "must be between 10 ms and 1 h");
            }
        }
        if self.tombstone_time < self.sync_interval * 4 || self.tombstone_time > Duration::from_secs(30 * 24 * 3_600) {
            return error("tombstone_time", "must be between four times sync_interval and 30 days");
        }
        if !(2..=1 << 20).contains(&self.members_max) {
            return error("members_max", "must be between 2 and 1,048,576");
        }
        if self.goodbye_timeout > Duration::from_secs(10) {
            return error("goodbye_timeout", "must be at most 10 s");
        }
        Ok(self)
    }
}

/// An option that makes no sense. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the membership option {option} {reason}")]
pub struct OptionsError {
    /// Its name.
    pub option: &'static str,
    /// What it must be.
    pub reason: &'static str,
}
