//! The workload of our own seeds: append registers.
//!
//! An append adds a number that no other append uses; its reply is the position in the register. Each replica keeps the order in
//! which it applied, so that replicas are compared entry by entry, and a read is judged by the length that it saw.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slimcluster_core::Index;
use slimcluster_core::machine::{
    Applied, ApplyContext, CODEC_POSTCARD, Codec as _, Machine, Postcard, StateMachine, Typed, decode_reply,
};
use slimcluster_core::node::io::Refused;
use slimcluster_core::random::Random;
use slimcluster_core::storage::Reply;
use slimcluster_core::wire::FRAME_BYTES_MAX;

use crate::checkers::registers::RegisterHistory;
use crate::checkers::sampled::Sample;
use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::workload::{OperationId, Request, Wanted, Workload};

/// The name of the machine in the cluster.
pub const MACHINE: &str = "registers";
/// The register that is judged by search, too.
const SAMPLED: u64 = 0;
const MILLION: u64 = 1_000_000;
/// A long command exceeds a frame by up to this many bytes: it takes up to four.
const LONG_BYTES: u64 = 192 * 1024;

/// The registers of one replica.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registers {
    /// Every append that was applied, in order.
    pub order: Vec<Appended>,
    /// How long each register is.
    pub lengths: BTreeMap<u64, u64>,
}

/// An append as it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The register.
    pub key: u64,
    /// The number of the append.
    pub id: u64,
}

/// Appends to one register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// What is appended where.
    pub appended: Appended,
    /// Bytes without meaning, so that commands differ in size.
    pub padding: Vec<u8>,
}

impl StateMachine for Registers {
    type Command = Append;
    type Reply = u64;

    fn apply(&mut self, _: &ApplyContext, command: Append) -> u64 {
        self.order.push(command.appended);
        let length = self.lengths.entry(command.appended.key).or_default();
        *length += 1;
        *length - 1
    }
}

impl Registers {
    /// How long the register is.
    pub fn length(&self, key: u64) -> u64 {
        self.lengths.get(&key).copied().unwrap_or_default()
    }
}

/// What a client asked for, and what it must see of its register.
#[derive(Clone, Copy, Debug)]
struct Operation {
    kind: Kind,
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Append(Appended),
    Read { key: u64 },
}

/// Clients that append, and read in one of four operations.
pub struct RegisterLoad {
    keys: u64,
    padding: u64,
    long_command: u64,
    history: RegisterHistory,
    /// The operations on register [`SAMPLED`].
    sample: Sample,
    /// By number.
    operations: Vec<Operation>,
    /// The replicas, each with the number of appends that the history has seen of it.
    replicas: BTreeMap<Endpoint, (Typed<Registers>, usize)>,
}

impl RegisterLoad {
    /// A load on `keys` registers, with up to `padding` bytes in each command that mean nothing.
    pub fn new(keys: u64, padding: u64) -> Self {
        let history = RegisterHistory::default();
        let (sample, operations, replicas) = (Sample::default(), Vec::new(), BTreeMap::new());
        RegisterLoad { keys, padding, long_command: 0, history, sample, operations, replicas }
    }

    /// The same, where a command of a client is longer than a frame at this rate, in parts per million.
    #[must_use]
    pub fn with_long_commands(self, rate: u64) -> Self {
        RegisterLoad { long_command: rate, ..self }
    }

    fn operation(&self, id: OperationId) -> Result<Operation, Violation> {
        let known = usize::try_from(id.0).ok().and_then(|id| self.operations.get(id));
        known.copied().ok_or_else(|| Violation::of("no phantom", format!("{id:?} ended, nobody began it")))
    }
}

impl Workload for RegisterLoad {
    fn machine_name(&self) -> &str {
        MACHINE
    }

    fn start(&mut self, endpoint: Endpoint) -> Box<dyn Machine> {
        let replica = Typed::new();
        self.replicas.insert(endpoint, (replica.clone(), 0));
        Box::new(replica)
    }

    fn end(&mut self, endpoint: Endpoint) {
        self.replicas.remove(&endpoint);
    }

    fn begin(&mut self, at: u64, client: usize, wanted: Wanted, rng: &mut Random) -> (OperationId, Request) {
        let key = rng.below(self.keys);
        let floor = self.history.floor(key);
        let (kind, request) = if !wanted.draws_read(rng) {
            let appended = Appended { key, id: self.history.begin_append() };
            let is_long = wanted == Wanted::Anything && self.long_command > 0 && rng.chance(self.long_command, MILLION);
            let (least, more) = if is_long { (FRAME_BYTES_MAX, LONG_BYTES) } else { (0, self.padding) };
            let append = Append { appended, padding: vec![0x5a; least + rng.below(more + 1) as usize] };
            // Postcard fails on types that it cannot describe, which this is not; an empty command would halt every replica, loudly.
            let bytes = Postcard.encode(&append).unwrap_or_default();
            (Kind::Append(appended), Request::Command { codec: CODEC_POSTCARD, version: 1, bytes })
        } else {
            (Kind::Read { key }, Request::Read)
        };
        let number = self.operations.len() as u64;
        self.operations.push(Operation { kind, floor });
        if key == SAMPLED {
            let append = if let Kind::Append(Appended { id, .. }) = kind { Some(id) } else { None };
            self.sample.begin(at, client, number, append);
        }
        (OperationId(number), request)
    }

    fn on_committed(&mut self, at: u64, operation: OperationId, _index: Index, reply: &Reply) -> Verdict {
        let Operation { kind: Kind::Append(Appended { key, id }), floor } = self.operation(operation)? else {
            return Err(Violation::of("one outcome", "a read got the outcome of a command"));
        };
        let position = decode_reply::<u64>(reply)
            .map_err(|error| Violation::of("true replies", format!("append {id}: {error}")))?;
        self.sample.answered(at, operation.0, position);
        self.history.on_appended(key, id, floor, position)
    }

    fn on_refused(&mut self, _at: u64, id: OperationId, _: Refused) -> Verdict {
        match self.operation(id)?.kind {
            Kind::Append(appended) => {
                self.sample.refused(id.0);
                self.history.on_refused(appended.id)
            }
            Kind::Read { .. } => Err(Violation::of("one outcome", "a read got the outcome of a command")),
        }
    }

    fn on_unknown(&mut self, _at: u64, _id: OperationId) {}

    fn on_read(&mut self, at: u64, id: OperationId, endpoint: Endpoint) -> Verdict {
        let Operation { kind: Kind::Read { key }, floor } = self.operation(id)? else {
            return Err(Violation::of("one outcome", "an append got a read index"));
        };
        let Some((replica, _)) = self.replicas.get(&endpoint) else { return Ok(()) };
        let length = replica.read(|replica| replica.length(key)).map_err(halted)?;
        self.sample.answered(at, id.0, length);
        self.history.on_read(key, floor, length)
    }

    fn on_read_refused(&mut self, _at: u64, id: OperationId) {
        self.sample.refused(id.0);
    }

    fn on_applied(&mut self, endpoint: Endpoint, _applied: &Applied) -> Verdict {
        let Some((replica, checked)) = self.replicas.get_mut(&endpoint) else { return Ok(()) };
        let (history, seen) = (&mut self.history, *checked);
        *checked = replica
            .read(|replica| {
                history.on_applied(seen, replica.order.get(seen..).unwrap_or_default())?;
                Ok(replica.order.len())
            })
            .map_err(halted)??;
        Ok(())
    }

    fn audit(&mut self, endpoint: Endpoint) -> Verdict {
        match self.replicas.get(&endpoint) {
            Some((_, checked)) => self.history.audit(*checked),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Verdict {
        self.sample.judge(self.history.order(SAMPLED))
    }

    fn applied(&self) -> u64 {
        self.history.applied() as u64
    }
}

fn halted(error: slimcluster_core::machine::MachineError) -> Violation {
    Violation::of("apply goes on", error.to_string())
}
