//! The clients of a user's machine: commands that the user draws, and reads of the whole state.

use std::collections::BTreeMap;
use std::sync::Arc;

use slimcluster_core::Index;
use slimcluster_core::machine::{
    Applied, CODEC_POSTCARD, Codec as _, Machine, MachineError, Postcard, StateMachine, Typed,
};
use slimcluster_core::node::io::Refused;
use slimcluster_core::random::Random;
use slimcluster_core::storage::Reply;

use super::journal::{Asked, Promises, name};
use super::watched::{SharedJournal, Watched, lock, numbered};
use super::{black_box, replays, show};
use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::workload::{OperationId, Request, Wanted, Workload};

/// Draws a command.
pub(super) type Draw<S> = Arc<dyn Fn(&mut Random) -> <S as StateMachine>::Command + Send + Sync>;

/// The load of one run.
pub(super) struct MachineLoad<S: StateMachine> {
    pub(super) draw: Draw<S>,
    pub(super) always: Promises<S>,
    pub(super) eventually: Promises<S>,
    pub(super) journal: SharedJournal,
    /// For what is drawn at the end.
    pub(super) rng: Random,
    pub(super) replicas: BTreeMap<Endpoint, Typed<S>>,
}

impl<S: StateMachine> MachineLoad<S> {
    fn snapshot(&self, endpoint: Endpoint) -> Result<bytes::Bytes, Violation> {
        let replica = self.replicas.get(&endpoint).ok_or(MachineError::Malformed("the process has ended"));
        replica.and_then(Machine::snapshot).map_err(|error| Violation::of("apply goes on", error.to_string()))
    }
}

impl<S: StateMachine> Workload for MachineLoad<S> {
    fn machine_name(&self) -> &str {
        "the machine under test"
    }

    fn start(&mut self, endpoint: Endpoint) -> Box<dyn Machine> {
        let machine = Typed::new();
        self.replicas.insert(endpoint, machine.clone());
        Box::new(Watched::new(machine, endpoint, Arc::clone(&self.journal), Arc::clone(&self.always)))
    }

    fn end(&mut self, endpoint: Endpoint) {
        self.replicas.remove(&endpoint);
        lock(&self.journal).on_ended(endpoint);
    }

    fn begin(&mut self, at: u64, client: usize, wanted: Wanted, rng: &mut Random) -> (OperationId, Request) {
        let mut journal = lock(&self.journal);
        if wanted.draws_read(rng) {
            return (OperationId(journal.begin(client as u64, at, Asked::Read)), Request::Read);
        }
        let bytes = Postcard.encode(&(self.draw)(rng)).unwrap_or_else(|error| {
            journal.note(Violation::of("apply goes on", format!("a command cannot be written: {error}")));
            bytes::Bytes::new()
        });
        let number = journal.begin(client as u64, at, Asked::Command(bytes.clone()));
        let bytes = numbered(number, &bytes);
        (OperationId(number), Request::Command { codec: CODEC_POSTCARD, version: S::VERSION, bytes })
    }

    fn on_committed(&mut self, at: u64, operation: OperationId, index: Index, reply: &Reply) -> Verdict {
        lock(&self.journal).on_committed::<S>(at, operation.0, index, reply)
    }

    fn on_refused(&mut self, _at: u64, operation: OperationId, refused: Refused) -> Verdict {
        if let Refused::TooLarge { bytes, bytes_max } = refused {
            let detail = format!(
                "a command is {bytes} bytes, and {bytes_max} is the most: send what is larger in several commands"
            );
            return Err(Violation::of("a load", detail));
        }
        lock(&self.journal).on_refused(operation.0)
    }

    fn on_unknown(&mut self, _at: u64, _operation: OperationId) {}

    fn on_read(&mut self, at: u64, operation: OperationId, endpoint: Endpoint) -> Verdict {
        let state = self.snapshot(endpoint)?;
        lock(&self.journal).on_read(at, operation.0, endpoint, state)
    }

    fn on_read_refused(&mut self, _at: u64, _operation: OperationId) {}

    fn on_applied(&mut self, _endpoint: Endpoint, _applied: &Applied) -> Verdict {
        lock(&self.journal).verdict()
    }

    fn audit(&mut self, endpoint: Endpoint) -> Verdict {
        lock(&self.journal).audit(endpoint)?;
        let Some(replica) = self.replicas.get(&endpoint) else { return Ok(()) };
        for promise in self.eventually.iter() {
            let broken = replica.read(|state| promise.broken(state));
            if let Some(broken) = broken.map_err(|error| Violation::of("apply goes on", error.to_string()))? {
                let state = show::state::<S>(&self.snapshot(endpoint)?);
                let detail = format!("{}: {broken} at the end", name(endpoint));
                return Err(Violation::of("eventually", format!("{detail}\nthe state is {state}")));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let journal = lock(&self.journal);
        journal.verdict()?;
        if journal.records.is_empty() {
            let detail = "no command was applied, so nothing was tested: let the run last longer, or with fewer faults";
            return Err(Violation::of("a load", detail));
        }
        replays::determinism::<S>(&journal.records)?;
        replays::round_trips::<S>(&journal.records, &mut self.rng)?;
        black_box::judge::<S>(&journal)
    }

    fn applied(&self) -> u64 {
        lock(&self.journal).records.len() as u64
    }
}
