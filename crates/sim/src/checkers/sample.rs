//! Logs and stores in small, for the tests of the checkers.

use bytes::Bytes;
use slimcluster_core::machine::SessionEntry;
use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{Identity, Phase, Write};
use slimcluster_core::types::StoreId;
use slimcluster_core::{
    ClusterUuid, Durability, Generation, GroupId, HardState, Index, LogTime, MachineId, NodeId, Run, RunHeader,
    RunKind, Term, WallTime, WriteSeq,
};

use super::storage::Store;

/// The cluster of every sample.
pub const UUID: ClusterUuid = ClusterUuid(77);

/// One entry that goes on from a history of this hash.
pub fn run(first: u64, term: u64, chain: u64) -> Run {
    single(RunKind::Noop, first, term, chain, Bytes::new())
}

/// The entry that opens a session.
pub fn session(first: u64, node: NodeId, generation: u64) -> Run {
    let open = SessionEntry::Open { node, generation: Generation(generation) };
    single(RunKind::Session, first, 1, 0, open.encode())
}

fn single(kind: RunKind, first: u64, term: u64, chain: u64, payload: Bytes) -> Run {
    let header = RunHeader {
        group: GroupId::DEFAULT,
        kind,
        codec: 0,
        command_version: 0,
        term: Term(term),
        first: Index(first),
        machine: MachineId(0),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain,
    };
    Run::single(header, payload)
}

fn founding() -> Phase {
    let voter = |id| ConfiguredNode {
        id: NodeId(id),
        name: format!("n{id}"),
        durability: Durability::Fsync,
        standing: Standing::Voter,
    };
    let baseline = Configuration::new((1..=3).map(voter).collect()).unwrap();
    Phase::Formed { uuid: UUID, baseline }
}

/// The hash of the founding configuration: what entry 2 goes on from.
pub fn base_chain() -> u64 {
    founding().founding_log(GroupId::DEFAULT).base_chain()
}

/// The identity of a member of the sample cluster.
pub fn identity(node: NodeId) -> Identity {
    Identity {
        node,
        store: StoreId(node.0),
        cluster_id: "sample".to_owned(),
        generation: Generation(1),
        phase: founding(),
        abandoned: Vec::new(),
    }
}

/// The store of a member with an empty log.
pub fn founded(node: NodeId) -> Store {
    let mut store = Store::default();
    put(&mut store, Write { identity: Some(identity(node)), ..empty() }, true);
    store
}

/// Lets the node of the store accept runs, durably or not.
pub fn write(store: &mut Store, runs: &[Run], is_durable: bool) {
    put(store, Write { runs: runs.to_vec(), ..empty() }, is_durable);
}

/// Lets the node of the store vote, durably or not.
pub fn vote(store: &mut Store, term: Term, vote: Option<NodeId>, is_durable: bool) {
    put(store, Write { hard_state: Some(HardState { term, vote }), ..empty() }, is_durable);
}

/// Durable means this write and all before it.
fn put(store: &mut Store, write: Write, is_durable: bool) {
    let seq = write.seq;
    store.on_write(&write).unwrap();
    if is_durable {
        store.on_written(seq).unwrap();
    }
}

fn empty() -> Write {
    Write { seq: WriteSeq(1), group: GroupId::DEFAULT, identity: None, hard_state: None, runs: Vec::new() }
}
