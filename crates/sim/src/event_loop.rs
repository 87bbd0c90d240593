//! One step of a node's event loop, and its outputs.

use slimcluster_core::node::io::{Event as NodeEvent, Input, Output};
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::storage::Fetched;
use slimcluster_core::{Run, WallTime, raft};

use crate::checkers::{Verdict, Violation};
use crate::network::Endpoint;
use crate::phases::Phase;
use crate::trace::digest;
use crate::trouble::FOREVER;
use crate::trouble::{CrashPoint, PlannedCrash};
use crate::world::{Event, MILLISECOND, Place, SECOND, World};

/// An event loop that wakes this much after its deadline says so.
const LATE: u64 = 20 * MILLISECOND;

impl World {
    /// Everything that has arrived is handled, then the deadline is judged, then the outputs are executed.
    pub(crate) fn step(&mut self, endpoint: Endpoint) -> Verdict {
        let now = self.now;
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        process.alarms.remove(&now);
        if process.step_at != Some(now) {
            // The step for which this was planned was taken earlier.
            self.set_alarm(endpoint);
            return Ok(());
        }
        process.step_at = None;
        if process.busy_until > now {
            let at = process.busy_until;
            self.wake(endpoint, at);
            return Ok(());
        }
        if std::mem::take(&mut process.was_paused) {
            self.note_wake(endpoint);
        }
        self.handle_all(endpoint)?;
        self.check_drops(endpoint)?;
        self.carry_out(endpoint)
    }

    /// Hands over everything that has arrived, then judges the deadline.
    fn handle_all(&mut self, endpoint: Endpoint) -> Verdict {
        let now = self.now;
        let Place { clock, process: Some(process), .. } = &mut self.places[endpoint.place] else { return Ok(()) };
        let time = process.time(clock, now);
        let late = process.deadline.map(|deadline| time.since(deadline));
        if let Some(late) = late.filter(|late| late.as_micros() > LATE.into()) {
            process.node.handle(time, Input::Lateness(late));
        }
        process.node.handle(time, Input::WallTime(WallTime(clock.wall(now))));
        while let Some(input) = process.inbox.pop_front() {
            process.handle(time, input);
            process.check_invariants()?;
        }
        if process.node.poll_timeout().is_some_and(|deadline| deadline <= time) {
            process.node.handle(time, Input::Timeout);
            process.check_invariants()?;
        }
        process.check_contacts(time)
    }

    /// Carries out what the node wants done, unless the process dies on the way.
    fn carry_out(&mut self, endpoint: Endpoint) -> Verdict {
        while let Some(output) = self.process(endpoint).and_then(|process| process.poll_output()) {
            if let Some(power_loss) = self.dies_before_an_output(endpoint.place) {
                self.crash(endpoint.place, power_loss)?;
                self.plan_start(endpoint.place);
                return Ok(());
            }
            self.on_output(endpoint, output)?;
        }
        self.observe(endpoint)?;
        let now = self.now;
        let Place { clock, process: Some(process), .. } = &mut self.places[endpoint.place] else { return Ok(()) };
        let time = process.time(clock, now);
        process.end_step(time)?;
        self.plan_next_step(endpoint);
        Ok(())
    }

    /// Whether the process dies before it does what its event loop asked for next; true inside: with the power.
    fn dies_before_an_output(&mut self, place: usize) -> Option<bool> {
        let PlannedCrash { point: CrashPoint::AfterOutputs(left), power_loss } =
            self.places[place].trouble.crash.as_mut()?
        else {
            return None;
        };
        match left.checked_sub(1) {
            None => {
                sometimes(Situation::CrashBetweenOutputs);
                Some(*power_loss)
            }
            Some(fewer) => {
                *left = fewer;
                None
            }
        }
    }

    fn plan_next_step(&mut self, endpoint: Endpoint) {
        let now = self.now;
        let slow = self.places[endpoint.place].trouble.slow_until > now;
        let step = self.swarm.step;
        let mut cost = step + self.places[endpoint.place].timing.below(step + 1);
        if slow {
            cost = cost * 20 + self.places[endpoint.place].timing.below(20 * MILLISECOND);
        }
        let Some(process) = self.process(endpoint) else { return };
        process.busy_until = process.busy_until.max(now + cost);
        self.wake_at_deadline(endpoint);
    }

    /// Makes sure that the process takes a step when its clock shows its deadline.
    pub(crate) fn wake_at_deadline(&mut self, endpoint: Endpoint) {
        let Some(Place { clock, process: Some(process), .. }) = self.places.get(endpoint.place) else { return };
        if let Some(deadline) = process.deadline.and_then(|deadline| process.world_time(clock, deadline)) {
            self.wake(endpoint, deadline);
        }
    }

    /// What can be seen of the node from outside after each step.
    fn observe(&mut self, endpoint: Endpoint) -> Verdict {
        let World { places, checkers, stability, phase, stats, .. } = self;
        let Some(process) = places[endpoint.place].process.as_mut() else { return Ok(()) };
        let Some(raft) = process.node.raft() else { return Ok(()) };
        if checkers.on_step(endpoint, raft)? {
            stats.elections += 1;
            sometimes(Situation::LeaderElected);
            if *phase == Phase::Majority {
                stability.on_leader(raft.id(), raft.term())?;
            }
        }
        process.leads = (raft.role() == raft::Role::Leader).then(|| raft.term());
        Ok(())
    }

    fn on_output(&mut self, endpoint: Endpoint, output: Output) -> Verdict {
        let now = self.now;
        self.trace_output(endpoint, &output);
        match output {
            Output::Datagram { to, bytes } => {
                self.checkers.on_datagram(endpoint, &bytes)?;
                let from = self.places[endpoint.place].address;
                self.overhear_datagram(endpoint, to, &bytes)?;
                self.network.send_datagram(now, endpoint.place, from, to, bytes);
            }
            Output::Discover => {
                let ours = self.places.iter().map(|place| place.address);
                let addresses = ours.chain(self.stranger_addresses()).collect();
                self.after(MILLISECOND, Event::Answer(endpoint, Box::new(Input::Discovered(addresses))));
            }
            Output::Announce(_) => {}
            Output::Connect { link, to } => self.network.connect(now, endpoint, link, to),
            Output::Frame { link, lane, bytes } => {
                self.check_frame(endpoint, link, &bytes)?;
                self.network.send_frame(now, endpoint, link, lane, bytes);
            }
            Output::Close(link) => self.network.close(now, endpoint, link),
            Output::Write(write) => {
                let World { places, checkers, .. } = self;
                if let Some(process) = places[endpoint.place].process.as_mut() {
                    let leads = process.node.raft().filter(|raft| raft.role() == raft::Role::Leader);
                    checkers.on_write(endpoint.place, leads.map(raft::Raft::term), &write)?;
                    process.write_queue.push(write);
                }
                self.start_writing(endpoint);
            }
            Output::Fetch { group, first, last, bytes_max } => {
                self.stats.fetches += 1;
                let latency = self.swarm.write_latency;
                // A disk that is slow for good is read at the usual speed: a leader would replicate nothing else, and never end.
                let slow_until = Some(self.places[endpoint.place].trouble.slow_disk_until).filter(|at| *at != FOREVER);
                let slow_for = slow_until.map_or(0, |at| at.saturating_sub(self.now)).min(2 * SECOND);
                let delay = self.draw(endpoint.place, latency) + slow_for / 4;
                let wanted = Box::new(Fetched { group, first, runs: Vec::new() });
                self.after(delay, Event::Fetch(endpoint, wanted, last, bytes_max));
            }
            Output::Apply(runs) => return self.on_apply(endpoint, runs),
            Output::Renamed { node, generation } => {
                if let Some(process) = self.process(endpoint) {
                    process.host.change_owner(node, generation);
                }
                self.checkers.on_renamed(endpoint, node)?;
            }
            Output::RememberPeers(peers) => {
                if let Some(process) = self.process(endpoint) {
                    process.peers = Some(peers);
                }
                self.start_writing(endpoint);
            }
            Output::Submitted { request, outcome } => return self.on_submitted(endpoint, request, outcome),
            Output::ReadReady { request, index } => return self.on_read_ready(endpoint, request, index),
            Output::Event(event) => return self.on_event(endpoint, &event),
            Output::Stopped => {
                if let Some(process) = self.process(endpoint) {
                    process.stopped = true;
                }
                self.after(MILLISECOND, Event::Undo(crate::faults::Undo::Restart(endpoint)));
            }
        }
        Ok(())
    }

    fn on_apply(&mut self, endpoint: Endpoint, runs: Vec<Run>) -> Verdict {
        let World { places, checkers, now, .. } = self;
        let Some(process) = places[endpoint.place].process.as_mut() else { return Ok(()) };
        let Some(raft) = process.node.raft() else { return Ok(()) };
        checkers.on_apply((*now, endpoint.place), raft, process.next_apply, &runs)?;
        process.next_apply = runs.last().map_or(process.next_apply, |run| run.last().next());
        process.host.apply(runs);
        self.start_applying(endpoint);
        Ok(())
    }

    fn on_event(&mut self, endpoint: Endpoint, event: &NodeEvent) -> Verdict {
        self.check_seen_of_strangers(event)?;
        match event {
            NodeEvent::ConsensusStopped(reason) if !self.is_hurt(endpoint.place) => {
                Err(Violation::of("no broken invariant", format!("n{} stopped: {reason}", endpoint.place + 1)))
            }
            NodeEvent::ConsensusStopped(_) => {
                self.restart_soon(endpoint);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn trace_output(&mut self, endpoint: Endpoint, output: &Output) {
        let (tag, word) = match output {
            Output::Datagram { bytes, .. } => (2, digest(bytes)),
            Output::Frame { bytes, .. } => (3, digest(bytes)),
            Output::Write(write) => (4, write.seq.0 ^ write.runs.len() as u64),
            Output::Apply(runs) => (5, runs.first().map_or(0, |run| run.first().0)),
            Output::Connect { link, .. } => (6, link.0),
            Output::Submitted { request, .. } => (7, request.0),
            Output::ReadReady { request, .. } => (8, request.0),
            _ => (9, 0),
        };
        self.trace.event(self.now, [tag, endpoint.place as u64, word], || {
            let what = match output {
                Output::Datagram { to, bytes } => format!("datagram of {} bytes to {to}", bytes.len()),
                Output::Frame { link, bytes, .. } => format!("frame of {} bytes on link {}", bytes.len(), link.0),
                other => format!("{other:?}"),
            };
            format!("n{} -> {what}", endpoint.place + 1)
        });
    }
}
