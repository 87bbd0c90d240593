//! The load: clients that append and read in a closed loop, each operation on a random node.

use slimcluster_core::machine::{Codec as _, Postcard};
use slimcluster_core::node::io::{RequestId, Submit};
use slimcluster_core::random::Random;
use slimcluster_core::{CommandId, MachineId};

use crate::registers::{Append, Appended};

/// An operation in flight.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Whose.
    pub client: usize,
    /// What.
    pub kind: Kind,
    /// What it must see of its register.
    pub floor: u64,
    /// When it began.
    pub began: u64,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Appends.
    Append(Appended),
    /// Reads a register.
    Read {
        /// The register.
        key: u64,
    },
}

/// A client: one operation at a time.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// It waits for an outcome.
    pub busy: bool,
    /// A command with an unknown outcome, where it was submitted and what it was.
    pub unknown: Option<(crate::network::Endpoint, CommandId, Operation)>,
}

/// The command of an append, with some bytes of padding.
pub fn submit(request: RequestId, machine: MachineId, appended: Appended, padding: u64, rng: &mut Random) -> Submit {
    let append = Append { appended, padding: vec![0x5a; rng.below(padding + 1) as usize] };
    // Postcard fails on types that it cannot describe, which this is not; an empty command would halt every replica, loudly.
    let command = Postcard.encode(&append).unwrap_or_default();
    Submit { request, machine, codec: slimcluster_core::machine::CODEC_POSTCARD, version: 1, command }
}
