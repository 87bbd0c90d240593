//! The thread that writes and syncs.
//!
//! It takes everything that was queued while it synced as one batch: that is the group commit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use slimcluster_core::node::io::Input;
use slimcluster_core::storage::{KnownPeer, Write};

use super::shared::Shared;
use crate::storage::{StorageError, StorageWriter};

/// What the thread does.
#[expect(clippy::large_enum_variant, reason = "nearly every job is a write")]
pub(super) enum Job {
    /// Write, in order.
    Write(Write),
    /// Keep these addresses.
    RememberPeers(Vec<KnownPeer>),
}

/// The thread's outer end. Dropping the sender ends the thread after what was queued.
pub(super) struct WalThread {
    // The queue is bounded by the core: it has no more uncommitted bytes under way than its own limit.
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl WalThread {
    pub fn start(node_name: &str, writer: Box<dyn StorageWriter>, shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let work = move || Work { writer, queue, shared, peers: None, full: false }.run();
        let thread = std::thread::Builder::new().name(format!("wal-{node_name}")).spawn(work)?;
        Ok(WalThread { jobs, thread })
    }

    pub fn send(&self, job: Job) {
        // The thread ends early only after a failure, which it has reported.
        let _ = self.jobs.send(job);
    }

    /// Finishes what is queued and ends the thread, so that the storage is free.
    pub fn join(self) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the storage thread panicked");
        }
    }
}

struct Work {
    writer: Box<dyn StorageWriter>,
    queue: Receiver<Job>,
    shared: Arc<Shared>,
    peers: Option<Vec<KnownPeer>>,
    full: bool,
}

/// The other end is gone: nothing more will come.
struct Ended;

impl Work {
    fn run(mut self) {
        if let Err(error) = self.serve() {
            self.shared.inbox.report(Input::StorageFailed(error.to_string()));
        }
    }

    fn serve(&mut self) -> Result<(), StorageError> {
        let mut batch = Vec::new();
        loop {
            let ended = self.gather(&mut batch)?;
            if !batch.is_empty() {
                self.write(&batch)?;
                batch.clear();
            }
            if let Some(peers) = self.peers.take()
                && let Err(error) = self.writer.remember_peers(&peers)
            {
                tracing::warn!("the addresses of the peers were not kept: {error}");
            }
            if matches!(ended, Some(Ended)) {
                return Ok(());
            }
        }
    }

    /// Waits for a job, then takes all that are queued.
    fn gather(&mut self, batch: &mut Vec<Write>) -> Result<Option<Ended>, StorageError> {
        let first = loop {
            let wait = if self.full {
                FULL_RETRY
            } else if self.writer.needs_idle() {
                IDLE
            } else {
                match self.queue.recv() {
                    Ok(job) => break job,
                    Err(_) => return Ok(Some(Ended)),
                }
            };
            match self.queue.recv_timeout(wait) {
                Ok(job) => break job,
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(Ended)),
                Err(RecvTimeoutError::Timeout) => self.rest()?,
            }
        };
        self.take(first, batch);
        while let Ok(job) = self.queue.try_recv() {
            self.take(job, batch);
        }
        Ok(None)
    }

    /// There is nothing to write: ends the log, and looks for space if there was none.
    fn rest(&mut self) -> Result<(), StorageError> {
        if self.full {
            self.prepare()?;
        }
        // The end takes next to no room: a full storage often has it, and one at its limit stays full for good.
        if self.writer.needs_idle() {
            match self.writer.idle() {
                Ok(()) => self.report_full(self.writer.full()),
                Err(StorageError::Full(why)) => self.report_full(Some(why)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, job: Job, batch: &mut Vec<Write>) {
        match job {
            Job::Write(write) => batch.push(write),
            // The newest list is all that matters.
            Job::RememberPeers(peers) => self.peers = Some(peers),
        }
    }

    fn write(&mut self, batch: &[Write]) -> Result<(), StorageError> {
        loop {
            match self.writer.write(batch) {
                Ok(()) => break,
                Err(StorageError::Full(why)) => {
                    self.report_full(Some(why));
                    // Whoever stops the node does not wait for a disk to get space: nothing of this batch was acknowledged.
                    if !self.wait_for_space() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(last) = batch.last() {
            self.shared.inbox.report(Input::Written(last.seq));
        }
        self.prepare()
    }

    /// False when the node stops meanwhile.
    fn wait_for_space(&self) -> bool {
        std::thread::sleep(FULL_RETRY);
        !self.shared.ending.load(Ordering::Relaxed)
    }

    fn prepare(&mut self) -> Result<(), StorageError> {
        match self.writer.prepare() {
            Ok(()) => self.report_full(self.writer.full()),
            Err(StorageError::Full(why)) => self.report_full(Some(why)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells the core when the storage runs full or has space again.
    fn report_full(&mut self, full: Option<String>) {
        if self.full == full.is_some() {
            return;
        }
        self.full = full.is_some();
        match full {
            Some(why) => tracing::warn!("new commands are refused: {why}"),
            None => tracing::info!("the storage has space again"),
        }
        self.shared.inbox.report(Input::StorageFull(self.full));
    }
}

// An idle log is followed by an empty record after this time (rule 3).
const IDLE: Duration = Duration::from_millis(100);
const FULL_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use slimcluster_core::node::io::{MemberState, Role};
    use slimcluster_core::{Index, NodeId, Term};

    use super::*;
    use crate::driver::shared::{SharedParts, View};
    use crate::serialization::Serialization;
    use crate::status::{Member, Stage, Status};

    /// A log that nothing follows yet, on a storage with or without room for that.
    struct Unended {
        room: Arc<Mutex<Room>>,
        is_ended: bool,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Room {
        Free,
        /// For the end, and for no commands.
        Little,
        None,
    }

    impl StorageWriter for Unended {
        fn write(&mut self, _: &[Write]) -> Result<(), StorageError> {
            Ok(())
        }

        fn needs_idle(&self) -> bool {
            !self.is_ended
        }

        fn idle(&mut self) -> Result<(), StorageError> {
            self.is_ended = *self.room.lock().unwrap() != Room::None;
            Ok(())
        }

        fn full(&self) -> Option<String> {
            (*self.room.lock().unwrap() != Room::Free).then(|| "no space".to_owned())
        }

        fn remember_peers(&mut self, _: &[KnownPeer]) -> Result<(), StorageError> {
            Ok(())
        }
    }

    fn work(room: &Arc<Mutex<Room>>) -> Work {
        let writer = Box::new(Unended { room: room.clone(), is_ended: false });
        Work { writer, queue: mpsc::channel().1, shared: Arc::new(shared()), peers: None, full: false }
    }

    /// What the core was told of the space.
    fn told(work: &Work) -> Vec<bool> {
        let reports = work.shared.inbox.take().reports.into_iter();
        reports.filter_map(|report| if let Input::StorageFull(full) = report { Some(full) } else { None }).collect()
    }

    #[test]
    fn a_log_that_cannot_be_ended_for_want_of_space_is_looked_after_at_leisure() {
        let room = Arc::new(Mutex::new(Room::None));
        let mut work = work(&room);
        work.rest().unwrap();
        assert_eq!(told(&work), [true], "the core hears of it before it sends more");
        assert!(work.full && work.writer.needs_idle(), "the next look is a second away, not 100 ms");
        work.rest().unwrap();
        assert!(told(&work).is_empty());
        *room.lock().unwrap() = Room::Free;
        work.rest().unwrap();
        assert_eq!(told(&work), [false]);
        assert!(!work.full && !work.writer.needs_idle());
    }

    #[test]
    fn a_full_storage_still_ends_its_log() {
        let mut work = work(&Arc::new(Mutex::new(Room::Little)));
        work.prepare().unwrap();
        assert_eq!(told(&work), [true]);
        work.rest().unwrap();
        assert!(work.full && !work.writer.needs_idle());
    }

    fn shared() -> Shared {
        let (own, started) = (NodeId(1), SystemTime::UNIX_EPOCH);
        let self_node = Member {
            id: own,
            name: "n1".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 7_000)),
            http: None,
            state: MemberState::Alive,
            restarting: false,
            is_self: true,
            joined_at: started,
            last_seen: started,
        };
        let status = Status {
            stage: Stage::Working,
            role: Role::None,
            term: Term(0),
            leader: None,
            uuid: None,
            voters: Vec::new(),
            commit_index: Index(0),
            applied_index: Index(0),
            ready: false,
        };
        let parts = SharedParts {
            cluster_id: "wal-thread".to_owned(),
            node_name: "n1".to_owned(),
            consensus: true,
            serialization: Serialization::default(),
            request_timeout: Duration::from_secs(5),
            started,
            handle_signals: false,
        };
        let members = Arc::new([self_node.clone()]);
        Shared::new(parts, View { own, status, members, self_node, dropped: Arc::default() })
    }
}
