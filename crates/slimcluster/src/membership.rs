//! Who is there: the options of SWIM, or a fixed list.

use std::time::Duration;

use slimcluster_core::swim;

use crate::discovery::check_address_text;
use crate::error::StartError;

/// How a node knows its fellow members.
#[derive(Clone, Debug)]
pub enum Membership {
    /// By SWIM: members find each other, and each finds out who has died.
    Swim(Swim),
    /// By a list that never changes.
    Static(StaticMembers),
}

impl From<Swim> for Membership {
    fn from(swim: Swim) -> Self {
        Membership::Swim(swim)
    }
}

impl From<StaticMembers> for Membership {
    fn from(members: StaticMembers) -> Self {
        Membership::Static(members)
    }
}

/// Membership by SWIM.
#[derive(Clone, Debug)]
pub struct Swim {
    pub(crate) options: swim::Options,
}

impl Swim {
    /// The timing of a local network; the default.
    pub fn lan() -> Self {
        Swim { options: swim::Options::lan() }
    }

    /// The timing of a network between sites.
    pub fn wan() -> Self {
        Swim { options: swim::Options::wan() }
    }

    /// The timing of one host: for demonstrations and tests.
    pub fn local() -> Self {
        Swim { options: swim::Options::local() }
    }

    /// How often a member is probed.
    #[must_use]
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.options.probe_interval = interval;
        self
    }

    /// How long an answer may take before others are asked to probe; below the interval.
    #[must_use]
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.options.probe_timeout = timeout;
        self
    }

    /// How many members are asked to probe one that does not answer.
    #[must_use]
    pub fn indirect_probes(mut self, count: usize) -> Self {
        self.options.indirect_probes = count;
        self
    }

    /// How long a suspect has to refute, as a multiple of the probe interval and the logarithm of the cluster's size.
    #[must_use]
    pub fn suspicion_mult(mut self, factor: u32) -> Self {
        self.options.suspicion_mult = factor;
        self
    }

    /// How often an update is passed on, as a multiple of the logarithm of the cluster's size.
    #[must_use]
    pub fn retransmit_mult(mut self, factor: u32) -> Self {
        self.options.retransmit_mult = factor;
        self
    }

    /// At most this many updates ride on one datagram; as many as fit unless given.
    #[must_use]
    pub fn piggyback_updates_max(mut self, count: usize) -> Self {
        self.options.piggyback_updates_max = Some(count);
        self
    }
}

impl Default for Swim {
    fn default() -> Self {
        Swim::lan()
    }
}

/// Membership by a list of addresses that never changes. Names are resolved again at every try.
#[derive(Clone, Debug)]
pub struct StaticMembers {
    pub(crate) addresses: Vec<String>,
}

impl StaticMembers {
    /// The addresses of all members as `HOST:PORT`; the own one among them is harmless.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        StaticMembers { addresses: addresses.into_iter().map(Into::into).collect() }
    }
}

impl Membership {
    pub(crate) fn validate(&self) -> Result<(), StartError> {
        match self {
            Membership::Swim(swim) => {
                swim.options.clone().validated().map(drop).map_err(|error| StartError::Timing(error.to_string()))
            }
            Membership::Static(members) => {
                if members.addresses.len() > STATIC_MEMBERS_MAX {
                    return Err(StartError::option(
                        "StaticMembers",
                        members.addresses.len(),
                        format!("at most {STATIC_MEMBERS_MAX} addresses; use Swim for larger clusters"),
                    ));
                }
                members.addresses.iter().try_for_each(|address| check_address_text("StaticMembers", address))
            }
        }
    }
}

// Every node dials every other: beyond this the connections alone are a load.
const STATIC_MEMBERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_options_are_refused_with_a_sentence() {
        let problem = |membership: Membership| membership.validate().unwrap_err().to_string();
        assert!(Membership::from(Swim::lan()).validate().is_ok());
        assert!(problem(Swim::lan().probe_interval(Duration::ZERO).into()).contains("probe_interval must be between"));
        assert!(problem(Swim::lan().piggyback_updates_max(0).into()).contains("piggyback_updates_max"));
        assert!(problem(StaticMembers::new(["nowhere"]).into()).contains("HOST:PORT"));
        assert!(Membership::from(StaticMembers::new(["n1:60001", "[::1]:60001"])).validate().is_ok());
    }
}
