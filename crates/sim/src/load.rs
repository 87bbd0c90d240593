//! What the clients do, and what they are told.

use slimcluster_core::machine::decode_reply;
use slimcluster_core::node::io::{Input, Outcome, Refused, RequestId};
use slimcluster_core::{Index, NodeId};

use crate::audit::Phase;
use crate::checkers::{Verdict, Violation};
use crate::client::{Kind, Operation, submit};
use crate::network::Endpoint;
use crate::process::Process;
use crate::registers::Appended;
use crate::world::{Event, MILLISECOND, World};

/// A client that finds nobody to talk to tries again after this time.
const RETRY: u64 = 50 * MILLISECOND;

impl World {
    /// A client does its next operation.
    pub(crate) fn on_client(&mut self, client: usize) {
        let idle = client < self.swarm.clients && !self.clients[client].busy;
        if !idle || !matches!(self.phase, Phase::Faults | Phase::Healed) {
            return;
        }
        if self.resubmit(client) {
            return;
        }
        let place = self.rng.client.below(self.swarm.nodes as u64) as usize;
        let kind = self.draw_operation();
        if !self.submit(client, place, kind) {
            self.after(RETRY, Event::Client(client));
        }
    }

    fn draw_operation(&mut self) -> Kind {
        let key = self.rng.client.below(self.swarm.keys);
        if self.rng.client.chance(1, 4) {
            return Kind::Read { key };
        }
        Kind::Append(Appended { key, id: u64::MAX })
    }

    /// Hands an operation to the node at `place`; false when there is none to take it.
    pub(crate) fn submit(&mut self, client: usize, place: usize, kind: Kind) -> bool {
        let Some(process) = self.places[place].process.as_mut() else { return false };
        let Some(machine) = process.machine.filter(|_| !process.stopped) else { return false };
        let (key, kind) = match kind {
            Kind::Append(Appended { key, .. }) => {
                let id = self.registers.begin_append();
                (key, Kind::Append(Appended { key, id }))
            }
            Kind::Read { key } => (key, kind),
        };
        let operation = Operation { client, kind, floor: self.registers.floor(key), began: self.now };
        let request = process.begin(operation);
        let endpoint = process.endpoint;
        let input = match kind {
            Kind::Append(appended) => {
                Input::Submit(submit(request, machine, appended, self.swarm.padding, &mut self.rng.client))
            }
            Kind::Read { .. } => Input::Read { request },
        };
        self.clients[client].busy = true;
        self.stats.operations += 1;
        self.trace.event(self.now, [15, place as u64, request.0], || {
            format!("n{} client {client}: {kind:?} as request {}", place + 1, request.0)
        });
        self.deliver(endpoint, input);
        true
    }

    /// Asks again for a command with an unknown outcome, half of the time; else gives it up.
    fn resubmit(&mut self, client: usize) -> bool {
        let Some((endpoint, id, operation)) = self.clients[client].unknown.take() else { return false };
        let again = self.rng.client.chance(1, 2);
        let Some(process) = self.process(endpoint).filter(|process| again && !process.stopped) else { return false };
        let request = process.begin(operation);
        self.clients[client].busy = true;
        self.deliver(endpoint, Input::Resubmit { request, id });
        true
    }

    /// The node has an outcome for a submit.
    pub(crate) fn on_submitted(&mut self, endpoint: Endpoint, request: RequestId, outcome: Outcome) -> Verdict {
        let Some(operation) = self.process(endpoint).and_then(|process| process.requests.remove(&request)) else {
            return Err(Violation::of("one outcome", format!("a second or unasked outcome of request {}", request.0)));
        };
        let Kind::Append(Appended { key, id }) = operation.kind else {
            return Err(Violation::of("one outcome", format!("a read got {outcome:?}")));
        };
        match outcome {
            Outcome::Committed { index, reply, .. } => {
                let position = decode_reply::<u64>(&reply)
                    .map_err(|error| Violation::of("true replies", format!("append {id}: {error}")))?;
                self.check_acknowledged(endpoint, index)?;
                self.registers.on_appended(key, id, operation.floor, position)?;
                self.stats.acknowledged += 1;
                self.note_fresh(endpoint, operation.began);
            }
            Outcome::NotCommitted(refused) => {
                self.stats.refused += 1;
                self.registers.on_refused(id)?;
                if refused == Refused::Failed && !self.places[endpoint.place].disk.has_failed() {
                    return Err(Violation::of(
                        "no broken invariant",
                        format!("n{} refused as failed", endpoint.place + 1),
                    ));
                }
            }
            Outcome::Unknown { id } => {
                self.stats.unknown += 1;
                self.clients[operation.client].unknown = Some((endpoint, id, operation));
            }
        }
        self.finish(operation);
        Ok(())
    }

    fn check_acknowledged(&mut self, endpoint: Endpoint, index: Index) -> Verdict {
        let World { places, stores, commitment, .. } = self;
        let Some(raft) = places[endpoint.place].process.as_ref().and_then(|process| process.node.raft()) else {
            return Ok(());
        };
        let voters: Vec<NodeId> = raft.configuration().voters().collect();
        let chain = commitment.on_acknowledged(index, &voters, stores)?;
        self.check_media(index, chain, &voters)
    }

    /// The node has a read index, or none.
    pub(crate) fn on_read_ready(
        &mut self,
        endpoint: Endpoint,
        request: RequestId,
        index: Result<Index, Refused>,
    ) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        match index {
            Ok(index) if index > process.host.applied() => {
                process.reads.push((index, request));
                Ok(())
            }
            Ok(_) => self.finish_read(endpoint, request),
            Err(_) => {
                if let Some(operation) = process.requests.remove(&request) {
                    self.finish(operation);
                }
                Ok(())
            }
        }
    }

    /// The replica has reached the read index: the state is read.
    pub(crate) fn finish_read(&mut self, endpoint: Endpoint, request: RequestId) -> Verdict {
        let World { places, registers, .. } = self;
        let Some(process) = places[endpoint.place].process.as_mut() else { return Ok(()) };
        let Some(operation) = process.requests.remove(&request) else {
            return Err(Violation::of("one outcome", format!("a second or unasked answer to read {}", request.0)));
        };
        let Kind::Read { key } = operation.kind else {
            return Err(Violation::of("one outcome", "an append got a read index"));
        };
        let length = process
            .registers
            .read(|replica| replica.length(key))
            .map_err(|error| Violation::of("apply goes on", error.to_string()))?;
        registers.on_read(key, operation.floor, length)?;
        self.stats.reads += 1;
        self.finish(operation);
        Ok(())
    }

    /// The operation has ended; its client thinks, then goes on.
    fn finish(&mut self, operation: Operation) {
        if let Some(client) = self.clients.get_mut(operation.client) {
            client.busy = false;
            let pause = self.rng.client.below(2 * self.swarm.think);
            self.after(pause, Event::Client(operation.client));
        }
    }

    /// The process has died with these operations: their clients never learn what became of them.
    pub(crate) fn forget_requests(&mut self, process: &Process) {
        for operation in process.requests.values() {
            self.stats.unknown += 1;
            self.finish(*operation);
        }
    }
}
