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
    /// The mean time between two tries to reach a dead member and seeds that are not members; drawn within 50 % of it.
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
            reconnect_interval: Duration::from_secs(3),
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
            reconnect_interval: Duration::from_secs(10),
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

    /// How long a suspicion lasts among `members` members, unless the node is isolated.
    pub(super) fn suspicion_time(&self, members: usize) -> Duration {
        self.probe_interval * self.suspicion_mult * log10_milli(members).max(1_000) / 1_000
    }

    /// How often an update is sent among `members` members.
    pub(super) fn retransmits_max(&self, members: usize) -> u32 {
        // ceil(log10(n + 1)) is the number of decimal digits of n.
        self.retransmit_mult * members.checked_ilog10().map_or(1, |log| log + 1)
    }
}

/// The decimal logarithm in thousandths, in integers: floating point may differ in its last bit from machine to machine. The base is memberlist's;
/// with base 2 a suspicion among 50 members would last three times as long.
fn log10_milli(n: usize) -> u32 {
    let mut whole = 0;
    let mut power: u128 = 1;
    while power * 10 <= n as u128 {
        power *= 10;
        whole += 1_000;
    }
    // Between two powers of ten a polygon through the exact values at 1, 2, 3, 5 and 10 is within 3 % of the curve.
    const CORNERS: [(u128, u32); 5] = [(1_000, 0), (2_000, 301), (3_000, 477), (5_000, 699), (10_000, 1_000)];
    let mantissa = n.max(1) as u128 * 1_000 / power;
    let rest = CORNERS.windows(2).find_map(|pair| match pair {
        [(x0, y0), (x1, y1)] if mantissa < *x1 => Some(y0 + ((mantissa - x0) * u128::from(y1 - y0) / (x1 - x0)) as u32),
        _ => None,
    });
    whole + rest.unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        for options in [Options::lan(), Options::wan(), Options::local()] {
            assert_eq!(options.clone().validated(), Ok(options));
        }
        assert!(Options { piggyback_updates_max: Some(0), ..Options::lan() }.validated().is_err());
        assert!(Options { probe_timeout: Duration::from_secs(1), ..Options::lan() }.validated().is_err());
    }

    #[test]
    fn times_and_counts_follow_the_decimal_logarithm() {
        let lan = Options::lan();
        let of = |n| (lan.suspicion_time(n).as_millis(), lan.retransmits_max(n));
        assert_eq!([1, 2, 3, 9, 10].map(of), [(4_000, 4), (4_000, 4), (4_000, 4), (4_000, 4), (4_000, 8)]);
        assert_eq!([99, 100, 1_000, 10_000].map(of), [(7_972, 8), (8_000, 12), (12_000, 16), (16_000, 20)]);
        for n in 1..20_000_usize {
            let exact = (n as f64).log10() * 1_000.0;
            assert!((f64::from(log10_milli(n)) - exact).abs() < 30.0, "{n}");
        }
    }
}
