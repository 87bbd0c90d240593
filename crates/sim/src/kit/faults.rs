//! Which faults a user's machine is tested under.

use std::fmt;

use crate::strike::FaultClass;

/// A family of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Partitions of all shapes, lost, late, doubled and damaged packets, broken connections.
    Network,
    /// Processes that are killed, or stopped in order, and start again.
    Crashes,
    /// Machines that lose power, one or all; what was not synced is gone, or some of it.
    PowerLoss,
    /// Processes that stand still, or run or apply slowly, for a while.
    Pauses,
    /// Disks that are slow, stand still, do half of what they were asked, or fail a sync.
    Disks,
    /// Clocks that drift, tick coarsely, jump, stand still, and wall clocks that are set by years.
    Clocks,
}

impl Fault {
    /// All families: name, and what strikes in each. What destroys data beyond repair, or needs an operator, says nothing about a state
    /// machine, and is left to our own seeds.
    const ALL: [(Fault, &'static str, &'static [FaultClass]); 6] = [
        (
            Fault::Network,
            "network",
            &[
                FaultClass::Partition,
                FaultClass::OneWay,
                FaultClass::Partial,
                FaultClass::Flapping,
                FaultClass::LinkBreak,
                FaultClass::Clog,
                FaultClass::MtuHole,
                FaultClass::CutMessage,
                FaultClass::SlowReader,
            ],
        ),
        (Fault::Crashes, "crashes", &[FaultClass::ProcessCrash, FaultClass::CrashLoop, FaultClass::Stop]),
        (Fault::PowerLoss, "power loss", &[FaultClass::PowerLoss, FaultClass::ChainedCrash, FaultClass::Blackout]),
        (Fault::Pauses, "pauses", &[FaultClass::Pause, FaultClass::SlowNode, FaultClass::SlowApply]),
        (Fault::Disks, "disks", &[FaultClass::SlowDisk, FaultClass::SyncFailure]),
        (Fault::Clocks, "clocks", &[FaultClass::ClockJump, FaultClass::ClockFreeze, FaultClass::WallJump]),
    ];
}

/// The families that may occur. Each seed draws some of them, so that the strong do not hide the weak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Every family.
    pub fn all() -> Self {
        Faults(Fault::ALL.iter().map(|(fault, ..)| *fault).collect())
    }

    /// A calm world. The power of all nodes is still cut once, at the end.
    pub fn none() -> Self {
        Faults(Vec::new())
    }

    /// These families.
    pub fn only(faults: impl IntoIterator<Item = Fault>) -> Self {
        Faults(faults.into_iter().collect())
    }

    /// All of these but one.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.0.retain(|other| *other != fault);
        self
    }

    /// Whether a family may occur.
    pub fn contains(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Whether a class of the simulator belongs to one of the families.
    pub(super) fn allows(&self, class: FaultClass) -> bool {
        Fault::ALL.iter().any(|(fault, _, classes)| self.contains(*fault) && classes.contains(&class))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Fault::ALL.iter().filter(|(fault, ..)| self.contains(*fault)).map(|(_, name, _)| *name);
        match names.collect::<Vec<_>>().as_slice() {
            [] => f.write_str("none"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_chosen_and_left_out() {
        let some = Faults::all().without(Fault::Network).without(Fault::Disks).without(Fault::Clocks);
        assert_eq!(some.to_string(), "crashes, power loss, pauses");
        assert!(some.allows(FaultClass::Blackout) && !some.allows(FaultClass::Clog));
        assert_eq!(Faults::only([Fault::Network]).to_string(), "network");
        assert_eq!(Faults::none().to_string(), "none");
    }
}
