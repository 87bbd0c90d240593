//! The steps of which a trace is made: one call of the store each, sized so that a few of them meet every boundary of a segment.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use slimcluster_core::raft::{Configuration, ConfiguredNode, Standing};
use slimcluster_core::storage::{Abandoned, Identity, KnownPeer, Phase, Write};
use slimcluster_core::{ClusterUuid, Durability, Generation, HardState, NodeId, Nonce, Run, Term};
use slimcluster_wal::{Wal, WalError};

use super::oracle::Expectation;
use super::runs;

/// The segments of traces.
pub const SEGMENT: u64 = 4096;

/// One call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// One small run.
    Append,
    /// Three runs in one batch, each in sectors of its own; the first is the same whenever it is written at its place.
    Batch,
    /// A run over the last entry.
    Splice,
    /// Term and vote.
    Vote,
    /// Term and vote, a run over the last entry and one behind it, in one batch.
    Elect,
    /// Another identity: the cluster forms while the log is empty, later an abandoned promise is noted.
    Adopt,
    /// The empty batch.
    Idle,
    /// A run of half a segment: the second or third of them starts the next one.
    Fill,
    /// The next segment is claimed.
    Prepare,
    /// Other known peers.
    Peers,
    /// A run of nearly a segment. It stands in a few traces of its own: there are so many ways in which it can be torn.
    Flood,
}

impl Op {
    /// The steps that every short trace is made of.
    pub const ALL: [Op; 10] =
        [Op::Append, Op::Batch, Op::Splice, Op::Vote, Op::Elect, Op::Adopt, Op::Idle, Op::Fill, Op::Prepare, Op::Peers];

    /// Performs it. What it writes depends on the state that it finds and on `salt`.
    pub fn perform(self, salt: u8, wal: &mut Wal, expected: &mut Expectation) -> Result<(), WalError> {
        match self {
            Op::Idle => wal.idle(),
            Op::Prepare => wal.prepare_segment().map(drop),
            Op::Peers => {
                self.announce(salt, expected);
                wal.remember_peers(&expected.last().peers)?;
                expected.acknowledge();
                Ok(())
            }
            _ => expected.write(wal, &self.batch(salt, expected)),
        }
    }

    /// Notes what is about to be handed over.
    pub fn announce(self, salt: u8, expected: &mut Expectation) {
        match self {
            Op::Peers => expected.announce_peers(&[peer(salt)]),
            _ => expected.announce(&self.batch(salt, expected)),
        }
    }

    /// What it writes to the log, to term and vote, or to the identity.
    fn batch(self, salt: u8, expected: &Expectation) -> Vec<Write> {
        let mut author = expected.last().author.clone();
        let HardState { term, .. } = expected.last().hard_state;
        let next = HardState { term: Term(term.0 + 1), vote: Some(NodeId(u128::from(salt % 3))) };
        match self {
            Op::Append => vec![runs(&[author.append(&[&[salt]])])],
            Op::Batch => {
                let first = author.append(&[&[1; 500]]);
                let second = author.append(&[&[salt; 300], b"and"]);
                let third = author.append(&[&[salt; 200]]);
                vec![runs(&[first, second]), runs(&[third])]
            }
            Op::Splice => vec![runs(&[over_the_last(&mut author, 0, salt)])],
            Op::Vote => vec![Write { hard_state: Some(next), ..runs(&[]) }],
            Op::Elect => {
                let run = over_the_last(&mut author, next.term.0, salt);
                let behind = author.append(&[&[salt; 10]]);
                vec![Write { hard_state: Some(next), ..runs(&[run, behind]) }]
            }
            Op::Adopt => vec![Write { identity: Some(adopted(expected, salt)), ..runs(&[]) }],
            Op::Fill => vec![runs(&[author.append(&[&[salt; 1900]])])],
            Op::Flood => vec![runs(&[author.append(&[&[salt; 3500]])])],
            Op::Idle | Op::Prepare | Op::Peers => Vec::new(),
        }
    }
}

/// A run of a later term in the place of the last entry, or the first one.
fn over_the_last(author: &mut super::Author, term: u64, salt: u8) -> Run {
    let (base, last) = (author.log.base(), author.log.last());
    author.splice(term.max(last.term.0 + 1), last.index.0.max(base.index.0 + 1), &[&[salt; 3]])
}

fn adopted(expected: &Expectation, salt: u8) -> Identity {
    let point = expected.last();
    let mut identity = point.identity.clone();
    if identity.phase == Phase::Fresh && point.author.runs.is_empty() {
        let (id, name, durability) = (identity.node, "a".into(), Durability::Fsync);
        let voter = ConfiguredNode { id, name, durability, standing: Standing::Voter };
        let baseline = Configuration::new(vec![voter]).unwrap();
        identity.phase = Phase::Formed { uuid: ClusterUuid(u128::from(salt)), baseline };
    } else {
        identity.abandoned.push(Abandoned { node: NodeId(u128::from(salt)), set: Vec::new() });
    }
    identity
}

fn peer(salt: u8) -> KnownPeer {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1000 + u16::from(salt));
    let name = format!("peer {salt}");
    KnownPeer { id: NodeId(u128::from(salt)), name, address, generation: Generation(1), nonce: Nonce(9) }
}
