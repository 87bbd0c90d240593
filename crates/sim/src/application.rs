//! What goes wrong in the application: a state machine that panics, on every replica at the same command (U1) or on one alone, and
//! one that is not deterministic (U3). It stands around the machine of any workload.
//!
//! A slow machine (U2) is slow in virtual time, so [`crate::threads`] knows it, and a caller that asks again (U5) is
//! [`crate::load`]'s.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use slimcluster_core::Index;
use slimcluster_core::machine::{ApplyContext, Command, Machine, MachineError};
use slimcluster_core::node::io::Stage;
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};

use crate::checkers::{Verdict, Violation};
use crate::faults::Undo;
use crate::network::Endpoint;
use crate::world::{Event, SECOND, World};

/// What the machine of one process has been made to do wrong.
#[derive(Debug, Default)]
pub struct Orders {
    /// The first command from this index on makes it panic, as it does on every replica of this build; 0 for none.
    poison_from: AtomicU64,
    /// The next command makes it panic, here alone.
    panics_next: AtomicBool,
    has_panicked: AtomicBool,
    /// It carries out no command that comes next, and answers as if it had: another state than elsewhere, and nobody says so.
    forgets_next: AtomicBool,
}

impl Orders {
    /// The first command from `index` on makes the machine panic.
    pub fn poison_from(&self, index: Index) {
        self.poison_from.store(index.0, Ordering::Relaxed);
    }

    /// The next command makes the machine panic.
    pub fn panic_next(&self) {
        self.panics_next.store(true, Ordering::Relaxed);
    }

    /// The machine only pretends to apply the next command.
    pub fn forget_next(&self) {
        self.forgets_next.store(true, Ordering::Relaxed);
    }

    /// Whether the machine has panicked: it applies nothing any more.
    pub fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Relaxed)
    }

    /// No more panics are ordered.
    pub fn withdraw(&self) {
        self.poison_from.store(0, Ordering::Relaxed);
        self.panics_next.store(false, Ordering::Relaxed);
    }

    fn panics_at(&self, index: Index) -> bool {
        let poison_from = self.poison_from.load(Ordering::Relaxed);
        self.panics_next.swap(false, Ordering::Relaxed) || poison_from != 0 && index.0 >= poison_from
    }
}

/// A machine that does what it is ordered to do wrong.
pub struct Sabotaged {
    machine: Box<dyn Machine>,
    orders: Arc<Orders>,
}

impl Sabotaged {
    /// `machine` under these orders.
    pub fn new(machine: Box<dyn Machine>, orders: Arc<Orders>) -> Self {
        Sabotaged { machine, orders }
    }
}

impl Machine for Sabotaged {
    fn inline(&self) -> bool {
        self.machine.inline()
    }

    fn apply(&self, cx: &ApplyContext, command: Command<'_>) -> Result<Bytes, MachineError> {
        if self.orders.panics_at(cx.index()) {
            self.orders.has_panicked.store(true, Ordering::Relaxed);
            // A panic as the host sees it, without the noise that a real one makes on standard error.
            resume_unwind(Box::new(PANIC.to_owned()));
        }
        if self.orders.forgets_next.swap(false, Ordering::Relaxed) {
            let state = self.machine.snapshot()?;
            let reply = self.machine.apply(cx, command)?;
            self.machine.restore(Some(&state))?;
            return Ok(reply);
        }
        self.machine.apply(cx, command)
    }

    fn snapshot(&self) -> Result<Bytes, MachineError> {
        self.machine.snapshot()
    }

    fn restore(&self, state: Option<&[u8]>) -> Result<(), MachineError> {
        self.machine.restore(state)
    }
}

/// What the machine says when it panics.
pub const PANIC: &str = "the state machine panics, as it was ordered to";
/// A poisoned command stands within so many entries of what has been applied.
const POISON_WITHIN: u64 = 30;

impl World {
    /// What the machine of a new process is made to do wrong.
    pub(crate) fn give_orders(&self, _endpoint: Endpoint, orders: &Orders) {
        if let Some(index) = self.poison_from {
            orders.poison_from(index);
        }
        #[cfg(feature = "mutants")]
        if self.options.mutant == Some(slimcluster_core::mutants::Mutant::ApplyForgets) && _endpoint.place == 0 {
            orders.forget_next();
        }
    }

    /// A coming command makes every replica of this build panic, until a better one is rolled out.
    pub(crate) fn poison(&mut self, rng: &mut Random) -> Verdict {
        let formed = (0..self.swarm.nodes).find(|place| self.checkers.stores[*place].is_formed());
        let (None, Some(formed)) = (self.poison_from, formed) else { return Ok(()) };
        self.checkers.expect_poison(formed)?;
        let from = Index(self.applied.0 + 1 + rng.below(POISON_WITHIN));
        self.poison_from = Some(from);
        for process in self.places.iter().flat_map(|place| &place.process) {
            process.orders.poison_from(from);
        }
        let delay = SECOND + rng.below(3 * SECOND);
        self.after(delay, Event::Undo(Undo::RollOut));
        Ok(())
    }

    /// A build that survives the poisoned command is rolled out: every process is started anew.
    pub(crate) fn roll_out(&mut self) -> Verdict {
        if self.poison_from.take().is_none() {
            return Ok(());
        }
        self.check_halted()?;
        self.checkers.lift_poison();
        for place in 0..self.swarm.nodes {
            if self.places[place].process.is_some() {
                self.crash(place, false)?;
                self.plan_start(place);
            }
        }
        Ok(())
    }

    /// The machine of one process panics at its next command.
    pub(crate) fn lone_panic(&mut self, place: usize, rng: &mut Random) {
        let Some(process) = &self.places[place].process else { return };
        process.orders.panic_next();
        let endpoint = process.endpoint;
        self.checkers.expect_lone_halt(endpoint);
        let delay = SECOND / 2 + rng.below(3 * SECOND);
        self.after(delay, Event::Undo(Undo::Relieve(endpoint)));
    }

    /// Somebody looks after a process whose machine was to panic.
    pub(crate) fn relieve(&mut self, endpoint: Endpoint) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        process.orders.panics_next.store(false, Ordering::Relaxed);
        if process.orders.has_panicked() {
            self.check_halted()?;
            self.crash(endpoint.place, false)?;
            self.plan_start(endpoint.place);
        }
        Ok(())
    }

    /// A node whose machine has panicked says so, with the reason, and goes on with all else (X2).
    fn check_halted(&self) -> Verdict {
        let (mut running, mut halted) = (0, 0);
        for process in self.places.iter().flat_map(|place| &place.process) {
            running += 1;
            let is_told = process.inbox.is_empty() && process.orders.has_panicked();
            let Some(raft) = process.node.raft().filter(|_| is_told) else { continue };
            halted += 1;
            if raft.commit_index() > process.host.applied().next() {
                sometimes(Situation::CommittedBeyondAHalt);
            }
            match process.node.status().stage {
                Stage::WaitingForMachine { waiting } if waiting.contains(PANIC) => {}
                Stage::WaitingForLeader { .. } | Stage::Stopped { .. } => {}
                stage => {
                    let detail = format!("the machine of n{} has panicked: {stage:?}", process.endpoint.place + 1);
                    return Err(Violation::of("a halt is said", detail));
                }
            }
        }
        if halted > 1 && halted == running {
            sometimes(Situation::EveryReplicaHalted);
        } else if halted == 1 {
            sometimes(Situation::OneReplicaHalted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimcluster_core::Generation;
    use slimcluster_core::NodeId;
    use slimcluster_core::machine::{Host, Typed};

    #[test]
    fn orders_are_given_and_withdrawn() {
        let orders = Orders::default();
        assert!(!orders.panics_at(Index(9)));
        orders.poison_from(Index(5));
        assert!(!orders.panics_at(Index(4)) && orders.panics_at(Index(5)) && orders.panics_at(Index(6)));
        orders.panic_next();
        orders.withdraw();
        assert!(!orders.panics_at(Index(9)));
        orders.panic_next();
        assert!(orders.panics_at(Index(1)) && !orders.panics_at(Index(2)));
    }

    #[test]
    fn a_sabotaged_machine_is_registered_like_any_other() {
        let machine = Sabotaged::new(Box::new(Typed::<crate::registers::Registers>::new()), Arc::default());
        Host::new(NodeId(1), Generation(1)).register("registers", Box::new(machine)).unwrap();
    }
}
