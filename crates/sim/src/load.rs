//! What the clients do, and what they are told.

use slimcluster_core::node::io::{Input, Outcome, Refused, RequestId, Submit};
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::storage::Reply;
use slimcluster_core::{CommandId, Index, NodeId};

use crate::checkers::{Verdict, Violation};
use crate::client::Operation;
use crate::network::Endpoint;
use crate::phases::Phase;
use crate::process::Process;
use crate::workload::{Request, Wanted};
use crate::world::{Event, MILLISECOND, World};

/// A client that finds nobody to talk to tries again after this time.
const RETRY: u64 = 50 * MILLISECOND;

impl World {
    /// A client does its next operation.
    pub(crate) fn on_client(&mut self, client: usize) {
        let idle = client < self.swarm.clients && !self.clients[client].busy;
        if !idle || !matches!(self.phase, Phase::Faults | Phase::Majority | Phase::Healed) {
            return;
        }
        if self.phase == Phase::Majority && !self.cut_from_leader.is_empty() {
            self.after(RETRY, Event::Client(client));
            return;
        }
        if self.resubmit(client) {
            return;
        }
        let place = self.clients[client].rng.below(self.swarm.nodes as u64) as usize;
        // While some nodes are broken for good, the clients use the others.
        let place = if self.phase == Phase::Majority && !self.is_core[place] {
            (0..self.swarm.nodes).cycle().skip(place).find(|place| self.is_core[*place]).unwrap_or(place)
        } else {
            place
        };
        if !self.submit(client, place, Wanted::Anything) {
            self.after(RETRY, Event::Client(client));
        }
    }

    /// Lets a client begin an operation at `place`; false when there is no process to take it.
    pub(crate) fn submit(&mut self, client: usize, place: usize, wanted: Wanted) -> bool {
        let World { places, clients, workload, stats, now, .. } = self;
        let Some(process) = places[place].process.as_mut() else { return false };
        let Some(machine) = process.machine.filter(|_| !process.stopped) else { return false };
        let client_state = &mut clients[client];
        let (id, asked) = workload.begin(*now, client, wanted, &mut client_state.rng);
        let command = matches!(asked, Request::Command { .. });
        let request = process.begin(Operation { id, client, command, echo: false, began: *now });
        let endpoint = process.endpoint;
        let input = match asked {
            Request::Command { codec, version, bytes } => {
                Input::Submit(Submit { request, machine, codec, version, command: bytes })
            }
            Request::Read => Input::Read { request },
        };
        let leads = process.leads;
        client_state.busy = true;
        stats.operations += 1;
        self.trace.event(self.now, [15, place as u64, request.0], || {
            let kind = if command { "a command" } else { "a read" };
            format!("n{} client {client}: {kind}, {id:?}, as request {}", place + 1, request.0)
        });
        self.note_request(leads, command);
        self.deliver(endpoint, input);
        true
    }

    /// Asks again for a command with an unknown outcome, half of the time; else gives it up.
    fn resubmit(&mut self, client: usize) -> bool {
        let Some((endpoint, id, operation)) = self.clients[client].unknown.take() else { return false };
        let again = self.clients[client].rng.chance(1, 2);
        let twice = self.clients[client].rng.chance(1, 4);
        let Some(process) = self.process(endpoint).filter(|process| again && !process.stopped) else { return false };
        let request = process.begin(operation);
        let echo = twice.then(|| process.begin(Operation { echo: true, ..operation }));
        self.clients[client].busy = true;
        self.deliver(endpoint, Input::Resubmit { request, id });
        if let Some(request) = echo {
            sometimes(Situation::AskedTwiceAtOnce);
            self.deliver(endpoint, Input::Resubmit { request, id });
        }
        true
    }

    /// The node has an outcome for a submit.
    pub(crate) fn on_submitted(&mut self, endpoint: Endpoint, request: RequestId, outcome: Outcome) -> Verdict {
        let Some(operation) = self.process(endpoint).and_then(|process| process.requests.remove(&request)) else {
            return Err(Violation::of("one outcome", format!("a second or unasked outcome of request {}", request.0)));
        };
        if operation.echo {
            return match outcome {
                Outcome::Committed { id, index, reply } => self.check_acknowledged(endpoint, (id, index), &reply),
                Outcome::Unknown { .. } => Ok(()),
                Outcome::NotCommitted(refused) => {
                    let detail = format!("request {} was refused ({refused:?}) when it was asked for twice", request.0);
                    Err(Violation::of("one outcome", detail))
                }
            };
        }
        match outcome {
            Outcome::Committed { id, index, reply } => {
                self.check_quorum_is_left(operation.began)?;
                self.check_acknowledged(endpoint, (id, index), &reply)?;
                self.workload.on_committed(self.now, operation.id, index, &reply)?;
                self.stats.acknowledged += 1;
                self.stats.acknowledged_in_faults += u64::from(self.phase == Phase::Faults);
                if self.is_fresh(operation.began) {
                    self.served[endpoint.place].write = true;
                }
            }
            Outcome::NotCommitted(refused) => {
                self.stats.refused += 1;
                self.workload.on_refused(self.now, operation.id, refused)?;
                if refused == Refused::Failed && !self.is_hurt(endpoint.place) {
                    return Err(Violation::of(
                        "no broken invariant",
                        format!("n{} refused as failed", endpoint.place + 1),
                    ));
                }
            }
            Outcome::Unknown { id } => {
                self.stats.unknown += 1;
                self.workload.on_unknown(self.now, operation.id);
                self.clients[operation.client].unknown = Some((endpoint, id, operation));
            }
        }
        self.finish(operation);
        Ok(())
    }

    /// Nothing that began after a quorum was destroyed is ever acknowledged.
    fn check_quorum_is_left(&self, began: u64) -> Verdict {
        match self.budget.exceeded_at() {
            Some(at) if began > at => Err(Violation::of("quorum durability", "an acknowledgement without a quorum")),
            _ => Ok(()),
        }
    }

    fn check_acknowledged(&mut self, endpoint: Endpoint, command: (CommandId, Index), reply: &Reply) -> Verdict {
        let World { places, checkers, now, .. } = self;
        let Some(raft) = places[endpoint.place].process.as_ref().and_then(|process| process.node.raft()) else {
            return Ok(());
        };
        let voters: Vec<NodeId> = raft.configuration().voters().collect();
        let chain = checkers.on_acknowledged((*now, endpoint.place), &voters, command, reply)?;
        self.check_media(command.1, chain, &voters)
    }

    /// The node has a read index, or none.
    pub(crate) fn on_read_ready(
        &mut self,
        endpoint: Endpoint,
        request: RequestId,
        index: Result<Index, Refused>,
    ) -> Verdict {
        let began = self.process(endpoint).and_then(|process| process.requests.get(&request)).map(|read| read.began);
        if let (Some(began), Ok(index)) = (began, index) {
            let World { places, checkers, .. } = self;
            let raft = places[endpoint.place].process.as_ref().and_then(|process| process.node.raft());
            checkers.on_read_index(endpoint.place, raft, began, index)?;
        }
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        match index {
            Ok(index) if index > process.host.applied() => {
                process.reads.push((index, request));
                Ok(())
            }
            Ok(_) => self.finish_read(endpoint, request),
            Err(_) => {
                if let Some(operation) = process.requests.remove(&request) {
                    self.workload.on_read_refused(self.now, operation.id);
                    self.finish(operation);
                }
                Ok(())
            }
        }
    }

    /// The replica has reached the read index: the state is read.
    pub(crate) fn finish_read(&mut self, endpoint: Endpoint, request: RequestId) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        let Some(operation) = process.requests.remove(&request) else {
            return Err(Violation::of("one outcome", format!("a second or unasked answer to read {}", request.0)));
        };
        let applied = process.host.applied();
        self.checkers.on_read(self.now, endpoint.place, applied)?;
        self.workload.on_read(self.now, operation.id, endpoint)?;
        self.stats.reads += 1;
        if self.is_fresh(operation.began) {
            self.served[endpoint.place].read = true;
        }
        self.finish(operation);
        Ok(())
    }

    /// The operation has ended; its client thinks, then goes on.
    fn finish(&mut self, operation: Operation) {
        if let Some(client) = self.clients.get_mut(operation.client) {
            client.busy = false;
            let pause = client.rng.below(2 * self.swarm.think);
            self.after(pause, Event::Client(operation.client));
        }
    }

    /// The process has died with these operations: their clients never learn what became of them.
    pub(crate) fn forget_requests(&mut self, process: &Process) {
        for operation in process.requests.values().filter(|operation| !operation.echo) {
            self.stats.unknown += 1;
            self.workload.on_unknown(self.now, operation.id);
            self.finish(*operation);
        }
    }
}
