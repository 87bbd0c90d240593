//! The clients: a closed loop each, every operation on a random node.

use slimcluster_core::CommandId;
use slimcluster_core::random::Random;

use crate::network::Endpoint;
use crate::workload::OperationId;

/// An operation in flight.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// Whose.
    pub client: usize,
    /// It is a command; else a read.
    pub command: bool,
    /// It asks a second time for what is asked for already: its outcome must not contradict the first.
    pub echo: bool,
    /// When it began, in virtual microseconds.
    pub began: u64,
}

/// A client: one operation at a time.
#[derive(Clone, Debug)]
pub struct Client {
    /// What it decides.
    pub rng: Random,
    /// It waits for an outcome.
    pub busy: bool,
    /// A command with an unknown outcome, and where it was submitted.
    pub unknown: Option<(Endpoint, CommandId, Operation)>,
}

impl Client {
    /// A client with nothing to do yet.
    pub fn new(rng: Random) -> Self {
        Client { rng, busy: false, unknown: None }
    }
}
