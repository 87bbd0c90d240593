//! What the clients ask of a cluster, and how its answers are judged. The world knows when and where an operation begins and ends;
//! a workload knows what it means. Ours is [`mod@crate::registers`]; the users' test kit brings the user's own state machine.

use bytes::Bytes;
use slimcluster_core::Index;
use slimcluster_core::machine::{Applied, Machine};
use slimcluster_core::node::io::Refused;
use slimcluster_core::random::Random;
use slimcluster_core::storage::Reply;

use crate::checkers::Verdict;
use crate::network::Endpoint;

/// The number of an operation, unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command for the state machine.
    Command {
        /// The codec of its bytes.
        codec: u8,
        /// The version of its type.
        version: u32,
        /// The command.
        bytes: Bytes,
    },
    /// A read of the state machine, linearizable.
    Read,
}

/// What kind of operation a client is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever the workload likes.
    Anything,
    /// A command.
    Command,
    /// A read.
    Read,
}

impl Wanted {
    /// Whether it shall be a read: of those that may be either, one in four is.
    pub fn draws_read(self, rng: &mut Random) -> bool {
        match self {
            Wanted::Anything => rng.chance(1, 4),
            Wanted::Command => false,
            Wanted::Read => true,
        }
    }
}

/// What the clients ask of a cluster, and how its answers are judged. Times are virtual microseconds.
///
/// An operation begins once and ends at most once, with one of `on_committed`, `on_refused`, `on_read` and `on_read_refused`. Until then it
/// may be reported as unknown, and may still take effect: an operation of a process that died never ends.
pub trait Workload: Send {
    /// The name under which the state machine is registered.
    fn machine_name(&self) -> &str;

    /// A process starts: a fresh state machine for it.
    fn start(&mut self, endpoint: Endpoint) -> Box<dyn Machine>;

    /// The process has ended, and its state machine with it.
    fn end(&mut self, endpoint: Endpoint);

    /// A client begins an operation of the kind that is wanted.
    fn begin(&mut self, at: u64, client: usize, wanted: Wanted, rng: &mut Random) -> (OperationId, Request);

    /// The command was applied at `index`, with this reply in its replicated form.
    fn on_committed(&mut self, at: u64, operation: OperationId, index: Index, reply: &Reply) -> Verdict;

    /// The command was not applied, now or ever, and why.
    fn on_refused(&mut self, at: u64, operation: OperationId, refused: Refused) -> Verdict;

    /// Nobody can tell yet what became of the operation.
    fn on_unknown(&mut self, at: u64, operation: OperationId);

    /// The replica of the process may be read now, and the operation ends with what is read.
    fn on_read(&mut self, at: u64, operation: OperationId, endpoint: Endpoint) -> Verdict;

    /// The read was given up; it has no effect.
    fn on_read_refused(&mut self, at: u64, operation: OperationId);

    /// The process has applied a slice.
    fn on_applied(&mut self, endpoint: Endpoint, applied: &Applied) -> Verdict;

    /// The run ends: this process holds everything that was acknowledged.
    fn audit(&mut self, endpoint: Endpoint) -> Verdict;

    /// The run ends: what only the whole of it shows.
    fn finish(&mut self) -> Verdict {
        Ok(())
    }

    /// Commands that any replica applied.
    fn applied(&self) -> u64;
}
