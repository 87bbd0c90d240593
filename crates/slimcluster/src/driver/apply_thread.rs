//! The thread that applies: a slow state machine never delays a heartbeat (rule 40).
//!
//! While every machine declares itself `INLINE`, and the thread has nothing to do, the event loop applies by itself and saves the
//! two wake-ups. What is queued for the thread always goes first.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    work: Arc<Work>,
    thread: JoinHandle<()>,
}

impl ApplyThread {
    pub fn start(node_name: &str, host: Host, shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let applier = Applier { host, entries_max: SLICE_ENTRIES_MIN, late_calls: 0 };
        let work = Arc::new(Work { applier: Mutex::new(applier), queued: AtomicUsize::new(0), shared });
        let on_thread = Arc::clone(&work);
        let builder = std::thread::Builder::new().name(format!("apply-{node_name}"));
        let thread = builder.spawn(move || on_thread.run(&queue))?;
        Ok(ApplyThread { jobs, work, thread })
    }

    pub fn send(&self, job: Job) {
        self.work.queued.fetch_add(1, Ordering::SeqCst);
        // The thread ends only when it is told to.
        let _ = self.jobs.send(job);
    }

    /// Applies committed runs: here and now if every machine is made for that, else on the thread.
    pub fn apply(&self, runs: Vec<Run>) {
        if let Some(runs) = self.work.apply_inline(runs) {
            self.send(Job::Apply(runs));
        }
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
    applier: Mutex<Applier>,
    /// Jobs that were sent and are not done.
    queued: AtomicUsize,
    shared: Arc<Shared>,
}

struct Applier {
    host: Host,
    /// Adapts so that a slice takes about a millisecond.
    entries_max: usize,
    /// Slices on the event loop that took longer than a machine may that declares itself `INLINE`.
    late_calls: u64,
}

impl Work {
    fn run(&self, queue: &Receiver<Job>) {
        // Blocks only when there is nothing left to apply.
        while let Ok(job) = queue.recv() {
            let mut next = Some(job);
            loop {
                while let Some(job) = next {
                    if self.take(job) {
                        return;
                    }
                    next = match queue.try_recv() {
                        Ok(job) => Some(job),
                        Err(TryRecvError::Empty) => None,
                        Err(TryRecvError::Disconnected) => return,
                    };
                }
                // Published under the lock, so that what the loop applies meanwhile is not overtaken.
                let mut applier = self.applier();
                let Some(applied) = applier.step() else { break };
                self.publish(applied);
                drop(applier);
                next = queue.try_recv().ok();
            }
        }
    }

    /// Does one job; true at the end.
    fn take(&self, job: Job) -> bool {
        let mut applier = self.applier();
        match job {
            Job::Apply(runs) => applier.host.apply(runs),
            Job::Register(name, machine) => applier.register(name, machine),
            Job::ChangeOwner(node, generation) => applier.host.change_owner(node, generation),
            Job::End => return true,
        }
        self.queued.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Applies on the caller's thread, the event loop's; gives the runs back if that is not for it to do.
    fn apply_inline(&self, runs: Vec<Run>) -> Option<Vec<Run>> {
        if self.queued.load(Ordering::SeqCst) > 0 {
            return Some(runs);
        }
        let Ok(mut applier) = self.applier.try_lock() else { return Some(runs) };
        if !applier.host.is_inline() {
            return Some(runs);
        }
        applier.host.apply(runs);
        let mut began = Instant::now();
        while let Some(applied) = applier.step() {
            let took = began.elapsed();
            self.publish(applied);
            if took > SLICE {
                applier.late_calls += 1;
                if applier.late_calls.is_power_of_two() {
                    let late = applier.late_calls;
                    tracing::warn!(
                        "applying took {took:?} on the event loop ({late} times over 1 ms): is INLINE right?"
                    );
                }
            }
            began = Instant::now();
        }
        None
    }

    fn applier(&self) -> MutexGuard<'_, Applier> {
        // The host catches what the user's code panics with; beyond that, what it holds is as good as before.
        self.applier.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Applier {
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
}

// Replies leave and other commands get in after each slice.
const SLICE: Duration = Duration::from_millis(1);
const SLICE_ENTRIES_MIN: usize = 64;
const SLICE_ENTRIES_MAX: usize = 4096;
const SLICE_BYTES_MAX: usize = 4 << 20;
const END_WAIT_MAX: Duration = Duration::from_secs(1);
