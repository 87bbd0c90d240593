//! The thread that applies: a slow state machine never delays a heartbeat (rule 40).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slimcluster_core::machine::{Applied, Budget, Host, Machine, Waiting};
use slimcluster_core::node::io::Input;
use slimcluster_core::{Generation, NodeId, Run};

use super::shared::{AppliedState, Shared};

/// What the thread does.
pub(super) enum Job {
    /// Apply, in order.
    Apply(Vec<Run>),
    /// Attach a machine.
    Register(String, Box<dyn Machine>),
    /// The node took a new id before a cluster was formed (rule 24).
    ChangeOwner(NodeId, Generation),
    /// End now, whatever is queued.
    End,
}

/// The thread's outer end.
pub(super) struct ApplyThread {
    // Bounded by the core: it hands over no more than its byte bound beyond what was reported applied.
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl ApplyThread {
    pub fn start(node_name: &str, host: Host, shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let work = move || Work { host, queue, shared, entries_max: SLICE_ENTRIES_MIN }.run();
        let thread = std::thread::Builder::new().name(format!("apply-{node_name}")).spawn(work)?;
        Ok(ApplyThread { jobs, thread })
    }

    pub fn send(&self, job: Job) {
        // The thread ends only when it is told to.
        let _ = self.jobs.send(job);
    }

    /// Ends the thread after the slice under way, but does not wait for user's code that does not return.
    pub fn end(self) {
        let _ = self.jobs.send(Job::End);
        let deadline = Instant::now() + END_WAIT_MAX;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.thread.is_finished() {
            tracing::warn!("a state machine is still applying a command; its thread is left to itself");
        } else if self.thread.join().is_err() {
            tracing::error!("the apply thread panicked");
        }
    }
}

struct Work {
    host: Host,
    queue: Receiver<Job>,
    shared: Arc<Shared>,
    /// Adapts so that a slice takes about a millisecond.
    entries_max: usize,
}

impl Work {
    fn run(mut self) {
        // Blocks only when there is nothing left to apply.
        while let Ok(job) = self.queue.recv() {
            let mut next = Some(job);
            loop {
                while let Some(job) = next {
                    match job {
                        Job::Apply(runs) => self.host.apply(runs),
                        Job::Register(name, machine) => self.register(name, machine),
                        Job::ChangeOwner(node, generation) => self.host.change_owner(node, generation),
                        Job::End => return,
                    }
                    next = match self.queue.try_recv() {
                        Ok(job) => Some(job),
                        Err(TryRecvError::Empty) => None,
                        Err(TryRecvError::Disconnected) => return,
                    };
                }
                let Some(applied) = self.step() else { break };
                self.publish(applied);
                next = self.queue.try_recv().ok();
            }
        }
    }

    fn register(&mut self, name: String, machine: Box<dyn Machine>) {
        if let Err(error) = self.host.register(name.clone(), machine) {
            tracing::error!("the machine {name:?} was not attached: {error}");
        }
    }

    fn step(&mut self) -> Option<Applied> {
        let begin = Instant::now();
        let applied = self.host.step(Budget { entries_max: self.entries_max, bytes_max: SLICE_BYTES_MAX });
        let took = begin.elapsed();
        if took > SLICE {
            self.entries_max = (self.entries_max / 2).max(1);
        } else if took < SLICE / 4 {
            self.entries_max = (self.entries_max * 2).min(SLICE_ENTRIES_MAX);
        }
        applied
    }

    fn publish(&self, applied: Applied) {
        if !applied.machines.is_empty() {
            self.shared
                .machines
                .send_modify(|machines: &mut BTreeMap<_, _>| machines.extend(applied.machines.iter().cloned()));
        }
        let halted = matches!(applied.waiting, Some(Waiting::Halted(_)));
        self.shared.applied.send_replace(AppliedState { index: applied.through, halted });
        self.shared.inbox.report(Input::Applied(applied));
    }
}

// Replies leave and other commands get in after each slice.
const SLICE: Duration = Duration::from_millis(1);
const SLICE_ENTRIES_MIN: usize = 64;
const SLICE_ENTRIES_MAX: usize = 4096;
const SLICE_BYTES_MAX: usize = 4 << 20;
const END_WAIT_MAX: Duration = Duration::from_secs(1);
