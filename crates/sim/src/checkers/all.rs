//! All checkers of a world: one method per thing that happens, which tells everybody whom it concerns.

use std::collections::BTreeMap;

use bytes::Bytes;
use slimcluster_core::machine::{Applied, Machine};
use slimcluster_core::node::io::LinkId;
use slimcluster_core::node::message::PeerMessage;
use slimcluster_core::raft::{Message, Raft, Role};
use slimcluster_core::storage::{Phase, Recovered, Write};
use slimcluster_core::wire::cluster_tag;
use slimcluster_core::{ClusterUuid, CommandId, HardState, Index, LogId, NodeId, Run, Term, WriteSeq};

use super::amnesia::Amnesia;
use super::campaigns::{Campaigns, Gate};
use super::clusters::Clusters;
use super::committed::CommittedLog;
use super::confirmations::Confirmations;
use super::durability::Durability;
use super::elections::Elections;
use super::exactly_once::ExactlyOnce;
use super::identities::Identities;
use super::log_matching::LogMatching;
use super::log_time::LogTimes;
use super::monotonic::{Monotonic, Position};
use super::poison::Poison;
use super::promises::Promises;
use super::reads::Reads;
use super::replicas::Replicas;
use super::storage::Store;
use super::swim_claims::Claims;
use super::witness::{self, Effects, Witness};
use super::{Verdict, Violation, answers, append_only, clusters, commit_rule, durability, swim_quorum};
use crate::clock::DRIFT_MAX;
use crate::lifecycle::CLUSTER_ID;
use crate::network::Endpoint;

/// All checkers of a world.
#[derive(Debug)]
pub struct Checkers {
    /// What is known of each disk, by place.
    pub stores: Vec<Store>,
    /// The time of the world.
    pub now: u64,
    /// What each place has seen of its present process.
    seen: Vec<Seen>,
    monotonic: Monotonic,
    clusters: Clusters,
    identities: Identities,
    amnesia: Amnesia,
    /// How far the monotonic clocks of all places have jumped in sum, in microseconds.
    clocks_jumped: u64,
    promises: Promises,
    claims: Claims,
    /// There is one; where there are more, each is judged by itself.
    histories: BTreeMap<ClusterUuid, History>,
}

/// What is known of a process.
#[derive(Debug, Default)]
struct Seen {
    /// It leads this term, as of its last step.
    leads: Option<Term>,
    leads_since: u64,
    gate: Gate,
    commit: Index,
    effects: Effects,
    /// Its state machine may fail where others do not.
    halts_alone: bool,
    /// Under which id it has introduced itself on each link.
    introduced: BTreeMap<LinkId, NodeId>,
}

/// The history of one cluster.
#[derive(Debug, Default)]
struct History {
    elections: Elections,
    campaigns: Campaigns,
    log_matching: LogMatching,
    log_times: LogTimes,
    committed: CommittedLog,
    durability: Durability,
    reads: Reads,
    confirmations: Confirmations,
    exactly_once: ExactlyOnce,
    poison: Poison,
    replicas: Replicas,
}

impl Checkers {
    /// The checkers of a world with so many places.
    pub fn new(places: usize) -> Self {
        Checkers {
            stores: (0..places).map(|_| Store::default()).collect(),
            now: 0,
            seen: (0..places).map(|_| Seen::default()).collect(),
            monotonic: Monotonic::default(),
            clusters: Clusters::default(),
            identities: Identities::default(),
            amnesia: Amnesia::default(),
            clocks_jumped: 0,
            promises: Promises::default(),
            claims: Claims::default(),
            histories: BTreeMap::new(),
        }
    }

    /// A process has opened its store.
    pub fn on_opened(&mut self, endpoint: Endpoint, recovered: &Recovered) -> Verdict {
        let Checkers { stores, seen, identities, amnesia, clusters, promises, .. } = self;
        let (store, identity) = (&mut stores[endpoint.place], &recovered.identity);
        store.on_opened(recovered)?;
        seen[endpoint.place] = Seen::default();
        if let Phase::Formed { uuid, .. } = identity.phase {
            clusters.on_member(identity.node, uuid)?;
        }
        promises.on_durable(identity)?;
        amnesia.on_opened(identity.node, recovered.hard_state, store.accepted_log());
        identities.on_live(endpoint, identity.node)
    }

    /// The disk of a place was replaced by an empty one. What the old one held still counts as what a voter had promised.
    pub fn on_replaced(&mut self, place: usize) {
        let old = std::mem::take(&mut self.stores[place]);
        self.stores.push(old);
    }

    /// The state machine of a process, under observation.
    pub fn watch(&mut self, endpoint: Endpoint, machine: Box<dyn Machine>) -> Box<dyn Machine> {
        Box::new(Witness::new(machine, Effects::clone(&self.seen[endpoint.place].effects)))
    }

    /// The process has a new id.
    pub fn on_renamed(&mut self, endpoint: Endpoint, node: NodeId) -> Verdict {
        self.seen[endpoint.place].leads = None;
        self.claims.on_ended(endpoint);
        self.identities.on_live(endpoint, node)
    }

    /// The process has ended.
    pub fn on_ended(&mut self, endpoint: Endpoint) {
        self.seen[endpoint.place] = Seen::default();
        self.claims.on_ended(endpoint);
        self.identities.on_ended(endpoint);
        for history in self.histories.values_mut() {
            history.replicas.on_ended(endpoint);
        }
    }

    /// The node wants this to be made durable. `leads`: it leads that term.
    pub fn on_write(&mut self, place: usize, leads: Option<Term>, write: &Write) -> Verdict {
        if let Some(identity) = &write.identity {
            self.promises.on_write(self.stores[place].durable_identity(), identity)?;
            if let Phase::Formed { uuid, .. } = identity.phase {
                self.clusters.on_member(identity.node, uuid)?;
            }
        }
        let log = self.stores[place].accepted_log();
        let mut end = None;
        for run in &write.runs {
            if let Some(term) = leads {
                append_only::check(term, end.unwrap_or_else(|| log.last()), run)?;
            }
            let before = match end {
                Some((LogId { index, .. }, chain)) if index.next() == run.first() => Some(chain),
                _ => log.chain_at(run.first().prev()),
            };
            clusters::check_run(before, run)?;
            end = Some((run.last_id(), run.chain_end()));
        }
        if write.hard_state.is_some() {
            self.seen[place].gate.on_hard_state();
        }
        if !write.runs.is_empty() {
            self.on_runs(place, &write.runs)?;
        }
        self.stores[place].on_write(write)
    }

    /// The node has these runs in its log.
    pub fn on_runs(&mut self, place: usize, runs: &[Run]) -> Verdict {
        let (history, _) = self.history(place)?;
        runs.iter().try_for_each(|run| history.log_matching.on_run(run))
    }

    /// The store called everything up to `seq` durable.
    pub fn on_written(&mut self, place: usize, seq: WriteSeq) -> Verdict {
        let votes = self.stores[place].on_written(seq)?;
        if let Some(identity) = self.stores[place].durable_identity() {
            self.promises.on_durable(identity)?;
        }
        let Some(node) = self.stores[place].node() else { return Ok(()) };
        for HardState { term, vote } in votes {
            if let Some(candidate) = vote {
                self.history(place)?.0.elections.on_vote(node, term, candidate)?;
            }
        }
        Ok(())
    }

    /// The process sends a datagram.
    pub fn on_datagram(&mut self, endpoint: Endpoint, bytes: &Bytes) -> Verdict {
        self.claims.on_datagram(endpoint, cluster_tag(CLUSTER_ID), bytes)
    }

    /// The process at `place`, which runs as `node`, says something on `link`, to the process of a place that runs as another node,
    /// if it still runs.
    pub fn on_message(
        &mut self,
        (place, node): (usize, NodeId),
        link: LinkId,
        peer: Option<(usize, NodeId)>,
        message: &PeerMessage,
    ) -> Verdict {
        let introduced = &mut self.seen[place].introduced;
        if let PeerMessage::Hello(hello) | PeerMessage::Welcome(hello) = message {
            introduced.insert(link, hello.from);
        }
        let store = &self.stores[place];
        if introduced.get(&link).is_some_and(|id| *id != node) {
            // It took a new id: what it had to say under the old one still leaves, before the links of that one are closed.
            return Ok(());
        }
        answers::check(message, peer.map(|(_, node)| node), store)?;
        if let (PeerMessage::ReadIndexResponse { index: Some(index), .. }, Some((_, reader))) = (message, peer) {
            let now = self.now;
            self.history(place)?.0.confirmations.on_told(now, reader, *index);
            return Ok(());
        }
        let PeerMessage::Raft { message, .. } = message else { return Ok(()) };
        self.monotonic.on_stated(node, message.term())?;
        let own = self.seen[place].gate.on_said(store.accepted_log().last().0);
        let is_formed = store.durable_identity().is_some_and(|own| matches!(own.phase, Phase::Formed { .. }));
        match message {
            Message::RequestVoteResponse(response) if response.granted => {
                let Some((_, candidate)) = peer else { return Ok(()) };
                self.clusters.check_answer(node, candidate)?;
                let vote = HardState { term: response.term, vote: Some(candidate) };
                self.amnesia.on_vote(node, is_formed, vote)?;
                let own = self.stores[place].accepted_log().last().0;
                let (history, _) = self.history(place)?;
                // Whoever else has won the term may have told the voter more since it voted.
                if history.elections.leader(response.term).is_none_or(|leader| leader == candidate) {
                    history.campaigns.on_vote(node, own, candidate, response.term)?;
                }
                history.elections.on_vote(node, response.term, candidate)
            }
            Message::RequestVote(_) | Message::AppendEntries(_) => {
                if let Message::RequestVote(request) = message {
                    self.history(place)?.0.campaigns.on_asked(node, request.term, request.last);
                }
                let vote = HardState { term: message.term(), vote: Some(node) };
                self.amnesia.on_vote(node, is_formed, vote)
            }
            Message::AppendEntriesResponse(response) => {
                let Some((leader, id)) = peer else { return Ok(()) };
                self.clusters.check_answer(node, id)?;
                // Round 0 is no answer: it tells a leader of an earlier term of the present one.
                if response.round > 0 {
                    let now = self.now;
                    self.history(place)?.0.confirmations.on_answer(now, node, id, response.term);
                }
                let store = &self.stores[place];
                if self.seen[leader].leads == Some(response.term) {
                    answers::check_match(response, store, self.stores[leader].accepted_log())?;
                }
                let index = response.match_index;
                match store.durable_log().chain_at(index) {
                    Some(chain) => self.amnesia.on_acknowledged(node, is_formed, response.term, (index, chain)),
                    None => Ok(()),
                }
            }
            Message::PreVoteResponse(response) => {
                if let (true, Some((_, asker))) = (response.granted, peer) {
                    self.history(place)?.0.campaigns.on_promise((node, own), asker, response.asked)?;
                }
                Ok(())
            }
            Message::Resign(resign) => {
                if let (true, Some((_, successor))) = (resign.successor, peer) {
                    self.history(place)?.0.campaigns.on_named(successor, resign.term);
                }
                Ok(())
            }
            Message::PreVote(wish) => {
                self.history(place)?.0.campaigns.on_wish(node, wish.term, wish.last);
                Ok(())
            }
            Message::RequestVoteResponse(_) => Ok(()),
        }
    }

    /// What can be seen of a node after a step. Returns whether it has begun to lead since the last one.
    pub fn on_step(&mut self, endpoint: Endpoint, raft: &Raft) -> Result<bool, Violation> {
        let (place, node, term, commit) = (endpoint.place, raft.id(), raft.term(), raft.commit_index());
        let position =
            Position { hard_state: raft.hard_state(), last: raft.last().index, commit, applied: raft.applied_index() };
        self.monotonic.on_step(endpoint, node, position)?;
        if let Some(Phase::Formed { baseline, .. }) = self.stores[place].durable_identity().map(|own| &own.phase) {
            swim_quorum::check(node, raft.configuration().voters(), baseline)?;
        }
        let leads = (raft.role() == Role::Leader).then_some(term);
        let Seen { leads: led, commit: before, .. } = self.seen[place];
        (self.seen[place].leads, self.seen[place].commit) = (leads, commit);
        let is_new = leads.is_some() && leads != led;
        if is_new {
            self.seen[place].leads_since = self.now;
        }
        self.seen[place].gate.on_step(self.stores[place].accepted_log().last().0);
        if raft.role() != Role::Follower && position.hard_state.vote == Some(node) {
            self.history(place)?.0.campaigns.on_opened(node, term, &voters(raft))?;
        }
        if is_new || leads.is_some() && commit > before {
            let (history, stores) = self.history(place)?;
            let log = stores[place].accepted_log();
            if is_new {
                history.elections.on_leader(node, term)?;
                history.campaigns.on_elected(node, term, stores[place].durable_hard_state(), &voters(raft))?;
                durability::check_leader(node, term, log, &history.committed)?;
            }
            if !is_new || commit > before && log.term_at(commit) == Some(term) {
                commit_rule::check(term, commit, log, &voters(raft), stores)?;
            }
        }
        Ok(is_new)
    }

    /// A monotonic clock has jumped forward.
    pub fn on_clock_jump(&mut self, by: u64) {
        self.clocks_jumped += by;
    }

    /// At `now` a node hands runs over to apply, after everything below `next`.
    pub fn on_apply(&mut self, (now, place): (u64, usize), raft: &Raft, next: Index, runs: &[Run]) -> Verdict {
        let voters = voters(raft);
        let counted = now + now * DRIFT_MAX / 1_000_000 + self.clocks_jumped;
        let (history, stores) = self.history(place)?;
        let mut next = next;
        for run in runs {
            history.log_times.on_apply(counted, run)?;
            let known = history.committed.on_apply(raft.id(), raft.term(), next, run)?;
            for entry in history.committed.after(known) {
                durability::on_quorum(entry.id.index, entry.chain, &voters, stores)?;
            }
            if history.committed.after(known).first().is_some_and(|entry| entry.id.index == run.first()) {
                history.exactly_once.on_committed(run)?;
            }
            next = run.last().next();
        }
        Ok(())
    }

    /// A replica has applied a slice.
    pub fn on_applied(&mut self, endpoint: Endpoint, applied: &Applied) -> Verdict {
        let Seen { effects, halts_alone, .. } = &self.seen[endpoint.place];
        let (effects, halts_alone) = (witness::take(effects), *halts_alone);
        let (history, _) = self.history(endpoint.place)?;
        let new = history.replicas.on_applied(endpoint, applied.through, &effects)?;
        let old = effects.len() - new;
        effects.iter().skip(old).try_for_each(|effect| history.exactly_once.on_effect(effect))?;
        history.poison.on_applied(applied.through, applied.waiting.as_ref().filter(|_| !halts_alone))
    }

    /// At `now` the owner of a command is told that it was committed at `index` with this reply. Returns the entry's history.
    pub fn on_acknowledged(
        &mut self,
        (now, place): (u64, usize),
        voters: &[NodeId],
        (command, index): (CommandId, Index),
        reply: &[u8],
    ) -> Result<u64, Violation> {
        let (history, stores) = self.history(place)?;
        history.exactly_once.on_told(command, index, reply)?;
        history.reads.on_seen(now, index);
        history.durability.on_acknowledged(index, &history.committed, voters, stores)
    }

    /// A read that began at `began` may see everything up to `index`, says the node at `place`.
    pub fn on_read_index(&mut self, place: usize, raft: Option<&Raft>, began: u64, index: Index) -> Verdict {
        let Seen { leads, leads_since, .. } = self.seen[place];
        let (history, _) = self.history(place)?;
        match raft {
            Some(raft) if raft.role() == Role::Leader && leads == Some(raft.term()) && began > leads_since => {
                history.confirmations.check(raft.id(), raft.term(), began, &voters(raft))?;
            }
            Some(raft) if raft.role() != Role::Leader && leads.is_none() => {
                history.confirmations.check_told(raft.id(), began, index)?;
            }
            // The node leads since the read began, or until just now: either way may have been taken.
            _ => {}
        }
        history.reads.on_read_index(began, index)
    }

    /// At `now` a client has seen a replica that has applied everything up to `applied`.
    pub fn on_read(&mut self, now: u64, place: usize, applied: Index) -> Verdict {
        self.history(place)?.0.reads.on_seen(now, applied);
        Ok(())
    }

    /// A build whose state machine does not fail has been rolled out.
    pub fn lift_poison(&mut self) {
        for history in self.histories.values_mut() {
            history.poison = Poison::default();
        }
    }

    /// The state machine of this process may fail, of this one alone.
    pub fn expect_lone_halt(&mut self, endpoint: Endpoint) {
        self.seen[endpoint.place].halts_alone = true;
    }

    /// The state machine of this world may fail on a command.
    pub fn expect_poison(&mut self, place: usize) -> Verdict {
        self.history(place)?.0.poison.expect();
        Ok(())
    }

    /// Everything that was acknowledged stands in the log of the node.
    pub fn audit(&mut self, place: usize) -> Verdict {
        let (history, stores) = self.history(place)?;
        match history.durability.acknowledged() {
            Some((index, chain)) if !stores[place].accepted_log().holds(index, chain) => {
                let detail = format!("entry {index} was acknowledged and is not in the log of n{}", place + 1);
                Err(Violation::of("durability", detail))
            }
            _ => Ok(()),
        }
    }

    /// The history of the cluster that a place is part of.
    fn history(&mut self, place: usize) -> Result<(&mut History, &[Store]), Violation> {
        let Checkers { stores, histories, .. } = self;
        let Some(uuid) = stores.get(place).and_then(Store::cluster) else {
            let detail = format!("n{} has a log and is part of no cluster", place + 1);
            return Err(Violation::of("clusters never mix", detail));
        };
        Ok((histories.entry(uuid).or_default(), stores))
    }
}

fn voters(raft: &Raft) -> Vec<NodeId> {
    raft.configuration().voters().collect()
}
