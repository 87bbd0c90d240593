//! The threads beside the event loop: the WAL thread, the apply thread, and reads of the log.

use slimcluster_core::node::io::Input;
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::storage::Fetched;
use slimcluster_core::{Index, WriteSeq};
use slimcluster_wal::{Space, WalError};

use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::trouble::{CrashPoint, PlannedCrash};
use crate::world::{Event, MILLISECOND, Place, World};

/// A WAL thread that had nothing to do for this long says so (rule 3).
const IDLE: u64 = 100 * MILLISECOND;

impl World {
    /// Lets the WAL thread take what is queued, unless it is busy.
    pub(crate) fn start_writing(&mut self, endpoint: Endpoint) {
        let now = self.now;
        let latency = self.swarm.write_latency;
        let mut delay = self.draw(endpoint.place, latency);
        let Place { trouble, timing, .. } = &mut self.places[endpoint.place];
        if trouble.slow_disk_until > now {
            delay = delay * 10 + timing.below(200 * MILLISECOND);
        }
        delay = delay.max(trouble.stuck_disk_until.saturating_sub(now));
        let Some(process) = self.process(endpoint) else { return };
        // What the kernel has been given goes on while the process stands still; it gives the next batch when it goes on.
        delay += process.frozen_until.saturating_sub(now);
        if process.writing_until.is_some()
            || process.stopped
            || (process.write_queue.is_empty() && process.peers.is_none())
        {
            return;
        }
        process.writing_until = Some(now + delay);
        process.batches += 1;
        process.writing = std::mem::take(&mut process.write_queue);
        self.after(delay, Event::Written(endpoint));
    }

    /// The WAL thread's time for its batch is over: the batch goes to the disk, call by call.
    pub(crate) fn on_written(&mut self, endpoint: Endpoint) -> Verdict {
        let place = endpoint.place;
        let now = self.now;
        if self.process(endpoint).is_none_or(|process| process.writing_until != Some(now)) {
            return Ok(());
        }
        if let Some(PlannedCrash { point: CrashPoint::InWrite, power_loss }) = self.places[place].trouble.crash {
            self.crash(place, power_loss)?;
            self.plan_start(place);
            return Ok(());
        }
        let World { places, checkers, .. } = self;
        let Some(process) = places[place].process.as_mut() else { return Ok(()) };
        process.writing_until = None;
        if process.frozen_until > now {
            sometimes(Situation::WriteEndedInPause);
        }
        let batch = std::mem::take(&mut process.writing);
        let peers = process.peers.take();
        let mut result = if batch.is_empty() { Ok(()) } else { process.wal.write(&batch) };
        if result.as_ref().is_err_and(WalError::is_retryable) {
            process.peers = peers;
            self.retry_batch(endpoint, batch);
            return Ok(());
        }
        let mut written = None;
        if let (Ok(()), Some(last)) = (&result, batch.last()) {
            written = Some(last.seq);
            result = process.wal.prepare_segment().map(|_| ());
        }
        if let (Ok(()), Some(peers)) = (&result, peers) {
            result = process.wal.remember_peers(&peers);
        }
        let space = process.wal.space();
        let number = process.batches;
        if let Some(seq) = written {
            checkers.on_written(place, seq)?;
            self.stats.writes += 1;
            self.deliver(endpoint, Input::Written(seq));
        }
        self.trace.event(self.now, [10, place as u64, written.map_or(0, |seq: WriteSeq| seq.0)], || {
            format!("n{} disk: batch of {} writes, {result:?}", place + 1, batch.len())
        });
        if let Err(error) = result {
            return self.on_storage_error(endpoint, &error);
        }
        self.report_full(endpoint, space != Space::Free);
        self.start_writing(endpoint);
        self.after(IDLE, Event::Idle(endpoint, number));
        Ok(())
    }

    /// Nothing was written for a while.
    pub(crate) fn on_idle(&mut self, endpoint: Endpoint, batch: u64) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        if process.batches != batch
            || process.writing_until.is_some()
            || process.stopped
            || !process.wal.needs_idle_record()
        {
            return Ok(());
        }
        match process.wal.idle() {
            Ok(()) => {
                let is_full = process.wal.space() != Space::Free;
                if is_full != process.is_full {
                    self.report_full(endpoint, is_full);
                }
                Ok(())
            }
            Err(error) => self.on_storage_error(endpoint, &error),
        }
    }

    /// Runs are read back.
    pub(crate) fn on_fetch(&mut self, endpoint: Endpoint, wanted: &Fetched, last: Index, bytes_max: usize) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        match process.reader.fetch(wanted.group, wanted.first, last, bytes_max) {
            Ok(fetched) => {
                self.checkers.on_runs(endpoint.place, &fetched.runs)?;
                self.deliver(endpoint, Input::Fetched(fetched));
                Ok(())
            }
            // As the driver does: the core takes an empty answer for what it is.
            Err(_) if self.is_hurt(endpoint.place) => {
                self.deliver(endpoint, Input::Fetched(Fetched { runs: Vec::new(), ..wanted.clone() }));
                Ok(())
            }
            Err(error) => Err(Violation::of("storage works", format!("n{}: {error}", endpoint.place + 1))),
        }
    }

    /// Lets the apply thread work, unless it does.
    pub(crate) fn start_applying(&mut self, endpoint: Endpoint) {
        let latency = self.swarm.apply_latency;
        let mut delay = self.draw(endpoint.place, latency);
        let now = self.now;
        let Place { trouble, timing, .. } = &mut self.places[endpoint.place];
        if trouble.slow_apply_until > now {
            delay = delay * 20 + timing.below(100 * MILLISECOND);
        }
        if let Some(process) = self.process(endpoint)
            && process.applying_until.is_none()
        {
            delay += process.frozen_until.saturating_sub(now);
            process.applying_until = Some(now + delay);
            self.after(delay, Event::Applied(endpoint));
        }
    }

    /// The apply thread has done a slice.
    pub(crate) fn on_slice(&mut self, endpoint: Endpoint) -> Verdict {
        let World { places, workload, checkers, now, .. } = self;
        let process = places[endpoint.place].process.as_mut().filter(|process| process.endpoint == endpoint);
        let Some(process) = process.filter(|process| process.applying_until == Some(*now)) else { return Ok(()) };
        process.applying_until = None;
        if process.frozen_until > *now {
            self.start_applying(endpoint);
            return Ok(());
        }
        let Some(applied) = process.apply_slice(workload.machine_name()) else { return Ok(()) };
        checkers.on_applied(endpoint, &applied)?;
        let (through, ready) = (applied.through, process.ready_reads());
        let is_done = through.next() >= process.next_apply;
        self.applied = self.applied.max(through);
        self.workload.on_applied(endpoint, &applied)?;
        self.trace.event(self.now, [11, endpoint.place as u64, through.0], || {
            format!("n{} applied through {through}", endpoint.place + 1)
        });
        self.deliver(endpoint, Input::Applied(applied));
        for request in ready {
            self.finish_read(endpoint, request)?;
        }
        if !is_done {
            self.start_applying(endpoint);
        }
        Ok(())
    }
}
