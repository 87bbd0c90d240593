//! The one queue into the event loop from other threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slimcluster_core::machine::Machine;
use slimcluster_core::node::io::{self, Input, Outcome};
use slimcluster_core::{CommandId, Index, MachineId};
use tokio::sync::{Notify, oneshot};

use crate::error::{ReadError, Refused};

/// What the application asks of the node.
pub(crate) enum Request {
    /// Submit a command.
    Submit { machine: MachineId, codec: u8, version: u32, command: Bytes, answer: oneshot::Sender<Outcome> },
    /// Find out about a command.
    Resubmit { id: CommandId, answer: oneshot::Sender<Outcome> },
    /// Read linearizably.
    Read { answer: oneshot::Sender<Result<Index, io::Refused>> },
    /// Attach a machine.
    Register { name: String, machine: Box<dyn Machine> },
    /// Advertise another HTTP address.
    Advertise(Option<String>),
    /// Leave for good, then stop.
    Leave,
    /// Stop, and be back.
    Shutdown,
    /// Stop as if by a crash.
    Abort,
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Request::Submit { command, .. } => command.len(),
            _ => 0,
        }
    }

    /// Whether it is one of many: these are refused when the queue is full, the others always find room.
    fn is_bounded(&self) -> bool {
        matches!(self, Request::Submit { .. } | Request::Resubmit { .. } | Request::Read { .. })
    }

    /// Answers a request that the node will not get any more.
    fn refuse(self) {
        // Whoever does not wait for the answer any more needs none.
        match self {
            Request::Submit { answer, .. } => drop(answer.send(Outcome::NotCommitted(io::Refused::ShuttingDown))),
            Request::Resubmit { id, answer } => drop(answer.send(Outcome::Unknown { id })),
            Request::Read { answer } => drop(answer.send(Err(io::Refused::ShuttingDown))),
            _ => {}
        }
    }
}

/// Why a request was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The queue is full.
    Overloaded,
    /// The node has stopped.
    Stopped,
}

impl Refusal {
    pub(crate) fn into_read_error(self) -> ReadError {
        match self {
            Refusal::Overloaded => ReadError::Overloaded,
            Refusal::Stopped => ReadError::ShuttingDown,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded => Refused::Overloaded,
            Refusal::Stopped => Refused::ShuttingDown,
        }
    }
}

/// Everything that waits for the loop's next turn.
#[derive(Default)]
pub(super) struct Waiting {
    /// What the node's own threads report.
    pub reports: Vec<Input>,
    /// What the application asks.
    pub requests: Vec<Request>,
}

#[derive(Default)]
struct Queue {
    waiting: Waiting,
    bounded: usize,
    bytes: usize,
    closed: bool,
}

/// The queue. Any thread pushes; the loop takes everything at once and is woken once for all that came while it was busy.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

// A turn of the loop takes milliseconds at worst; more than this waiting means that the node is stalled, and an honest answer is better
// than a long queue. The numbers are those of a session's window (rule 14) and of the leader's uncommitted log.
const REQUESTS_MAX: usize = 65_536;
const REQUEST_BYTES_MAX: usize = 64 << 20;

impl Inbox {
    /// Queues a request of the application.
    pub(crate) fn push(&self, request: Request) -> Result<(), Refusal> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Refusal::Stopped);
        }
        if request.is_bounded() {
            let bytes = request.bytes();
            if queue.bounded >= REQUESTS_MAX || queue.bytes + bytes > REQUEST_BYTES_MAX {
                return Err(Refusal::Overloaded);
            }
            queue.bounded += 1;
            queue.bytes += bytes;
        }
        queue.waiting.requests.push(request);
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    /// Queues a report of one of the node's own threads. Bounded by what the loop has given them to do.
    pub(super) fn report(&self, input: Input) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.waiting.reports.push(input);
        drop(queue);
        self.wake.notify_one();
    }

    /// Takes everything.
    pub(super) fn take(&self) -> Waiting {
        let mut queue = self.lock();
        (queue.bounded, queue.bytes) = (0, 0);
        std::mem::take(&mut queue.waiting)
    }

    /// Wakes the loop for something that stands elsewhere.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for the next wake; one that came since the last wait counts.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Refuses everything that waits, and all that will come.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.requests.into_iter().for_each(Request::refuse);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_at_once_and_a_closed_one_answers_what_waits() {
        let inbox = Inbox::default();
        for _ in 0..REQUESTS_MAX {
            assert!(inbox.push(Request::Read { answer: oneshot::channel().0 }).is_ok());
        }
        let (answer, _index) = oneshot::channel();
        assert_eq!(inbox.push(Request::Read { answer }), Err(Refusal::Overloaded));
        assert!(inbox.push(Request::Shutdown).is_ok(), "a shutdown always finds room");
        assert_eq!(inbox.take().requests.len(), REQUESTS_MAX + 1);

        let (answer, mut outcome) = oneshot::channel();
        let command = Bytes::from(vec![0; REQUEST_BYTES_MAX]);
        assert!(inbox.push(Request::Submit { machine: MachineId(1), codec: 1, version: 1, command, answer }).is_ok());
        inbox.close();
        assert_eq!(outcome.try_recv(), Ok(Outcome::NotCommitted(io::Refused::ShuttingDown)));
        assert_eq!(inbox.push(Request::Shutdown), Err(Refusal::Stopped));
    }
}
