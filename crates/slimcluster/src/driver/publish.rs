//! Turns what the core says of itself into what the application sees, and into lines for people.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slimcluster_core::Instant;
use slimcluster_core::node::{Node, io};

use super::shared::{Shared, View};
use crate::events::{Event, EventKind};
use crate::status::{Leader, Member, Stage, Status};

/// Publishes for one node.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    /// The core's status when it was last published, its indices set to zero.
    last: Option<io::Status>,
    /// Members are looked at again when something happened to them, and for `last_seen` now and then.
    members_at: Instant,
    members_changed: bool,
}

// `last_seen` is for people.
const MEMBERS_REFRESH: Duration = Duration::from_millis(500);

impl Publisher {
    pub fn new(shared: Arc<Shared>) -> Self {
        Publisher { shared, last: None, members_at: Instant::ZERO, members_changed: true }
    }

    /// Publishes one event.
    pub fn event(&mut self, now: Instant, node: &Node, event: io::Event) {
        self.members_changed = true;
        let since_start = Duration::from_micros(now.as_micros());
        let kind = self.kind(node, event);
        self.narrate(&kind);
        self.shared.emit(Event { at: self.shared.started + since_start, since_start, kind });
    }

    /// Publishes the snapshots, where they have changed.
    pub fn view(&mut self, now: Instant, node: &Node, datagrams_dropped: u64) {
        let mut status = node.status();
        self.shared.commit_index.store(status.commit.0, Ordering::Relaxed);
        let indices = (std::mem::take(&mut status.commit), std::mem::take(&mut status.applied));
        let changed = self.last.as_ref() != Some(&status);
        let refresh = self.members_changed || now.since(self.members_at) >= MEMBERS_REFRESH;
        if !changed && !refresh {
            return;
        }
        if self.last.as_ref().is_none_or(|last| last.stage != status.stage) {
            self.narrate_stage(&status.stage);
        }
        self.last = Some(status.clone());
        (status.commit, status.applied) = indices;
        let before = self.shared.view.load();
        let mut view = make_view(node, &self.shared, status);
        if !refresh {
            view.members = Arc::clone(&before.members);
            view.dropped = Arc::clone(&before.dropped);
        } else {
            view.dropped = dropped(node, datagrams_dropped);
            (self.members_at, self.members_changed) = (now, false);
        }
        let differs = changed || !same_members(&before.members, &view.members);
        drop(before);
        self.shared.view.store(Arc::new(view));
        if differs {
            self.shared.changes.send_modify(|count| *count += 1);
        }
    }

    /// The last snapshot.
    pub fn stopped(&self, reason: String) {
        let mut view = View::clone(&self.shared.view.load());
        // A failure that stopped consensus before is the better reason.
        if !matches!(view.status.stage, Stage::Stopped { .. }) {
            view.status.stage = Stage::Stopped { reason };
        }
        view.status.role = io::Role::None;
        view.status.leader = None;
        view.status.ready = false;
        self.shared.view.store(Arc::new(view));
        self.shared.changes.send_modify(|count| *count += 1);
        self.shared.end_events();
        tracing::info!(node = self.shared.node_name, "the node has stopped");
    }

    fn kind(&self, node: &Node, event: io::Event) -> EventKind {
        let member = |member| Member::new(member, node.id(), self.shared.started);
        match event {
            io::Event::Joined(who) => EventKind::Joined(member(who)),
            io::Event::Left(who) => EventKind::Left(member(who)),
            io::Event::Failed(who) => EventKind::Failed(member(who)),
            io::Event::Suspected(who) => EventKind::Suspected(member(who)),
            io::Event::StatusChanged(who) => EventKind::StatusChanged(member(who)),
            io::Event::AddressChanged(who) => EventKind::AddressChanged(member(who)),
            io::Event::MetaChanged(who) => EventKind::MetaChanged(member(who)),
            io::Event::LeaderChanged(leader) => {
                let members = make_members(node, &self.shared);
                EventKind::LeaderChanged(leader.map(|leader| make_leader(node, &members, leader)))
            }
            io::Event::Formed(uuid) => EventKind::Formed(uuid),
            io::Event::Warning(text) => EventKind::Warning(text),
            io::Event::ConsensusStopped(reason) => EventKind::ConsensusStopped(reason),
        }
    }

    fn narrate(&self, kind: &EventKind) {
        let node = self.shared.node_name.as_str();
        match kind {
            EventKind::Joined(who) => tracing::info!(node, "member {} joined at {}", who.name, who.address),
            EventKind::Left(who) => tracing::info!(node, "member {} left", who.name),
            EventKind::Failed(who) => tracing::warn!(node, "member {} is taken for dead", who.name),
            EventKind::Suspected(who) => tracing::info!(node, "member {} does not answer", who.name),
            EventKind::StatusChanged(who) if who.restarting => {
                tracing::info!(node, "member {} is restarting", who.name)
            }
            EventKind::StatusChanged(who) => tracing::info!(node, "member {} is back", who.name),
            EventKind::AddressChanged(who) => tracing::info!(node, "member {} is now at {}", who.name, who.address),
            EventKind::MetaChanged(who) => {
                tracing::info!(
                    node,
                    "member {} serves HTTP at {}",
                    who.name,
                    who.http.as_deref().unwrap_or("no address")
                );
            }
            EventKind::LeaderChanged(Some(leader)) if leader.is_self => {
                tracing::info!(node, "this node leads in term {}", leader.term);
            }
            EventKind::LeaderChanged(Some(leader)) => {
                tracing::info!(node, "{} leads in term {}", leader.name, leader.term);
            }
            EventKind::LeaderChanged(None) => tracing::info!(node, "there is no known leader"),
            EventKind::Formed(uuid) => tracing::info!(node, "this node is part of the cluster {uuid}"),
            EventKind::Warning(text) => tracing::warn!(node, "{text}"),
            EventKind::ConsensusStopped(reason) => {
                tracing::error!(node, "consensus has stopped on this node: {reason}")
            }
            EventKind::Missed(_) => {}
        }
    }

    fn narrate_stage(&self, stage: &io::Stage) {
        let node = self.shared.node_name.as_str();
        match stage {
            io::Stage::Forming { waiting } => tracing::info!(node, "no cluster yet: {waiting}"),
            io::Stage::WaitingForLeader { waiting } => tracing::info!(node, "no leader: {waiting}"),
            io::Stage::WaitingForMachine { waiting } => tracing::warn!(node, "nothing is applied: {waiting}"),
            io::Stage::Working => tracing::info!(node, "working"),
            io::Stage::Stopped { reason } => tracing::info!(node, "stopped: {reason}"),
        }
    }
}

/// Everything about the node at this moment.
pub(super) fn make_view(node: &Node, shared: &Shared, status: io::Status) -> View {
    let members = make_members(node, shared);
    let own = node.id();
    let self_node = members.iter().find(|member| member.is_self).cloned();
    View {
        own,
        status: Status {
            stage: status.stage.into(),
            role: status.role,
            term: status.term,
            leader: status.leader.map(|leader| make_leader(node, &members, leader)),
            uuid: status.uuid,
            voters: status.voters,
            commit_index: status.commit,
            applied_index: status.applied,
            ready: status.ready,
        },
        self_node: self_node.unwrap_or_else(|| shared.view.load().self_node.clone()),
        members: members.into(),
        dropped: Arc::default(),
    }
}

fn make_members(node: &Node, shared: &Shared) -> Vec<Member> {
    let mut members: Vec<Member> =
        node.members().into_iter().map(|member| Member::new(member, node.id(), shared.started)).collect();
    members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    members
}

fn make_leader(node: &Node, members: &[Member], leader: io::LeaderInfo) -> Leader {
    let member = members.iter().find(|member| member.id == leader.id);
    Leader {
        id: leader.id,
        name: member.map_or_else(|| leader.id.to_string(), |member| member.name.clone()),
        term: leader.term,
        http: member.and_then(|member| member.http.clone()),
        is_self: leader.id == node.id(),
    }
}

/// What was refused, by reason.
fn dropped(node: &Node, datagrams: u64) -> Arc<[(String, u64)]> {
    let own = (datagrams > 0).then(|| ("datagram: too long, or the node was too busy".to_owned(), datagrams));
    node.drops().map(|(reason, count)| (reason.to_owned(), count)).chain(own).collect()
}

/// Whether nothing but `last_seen` differs.
fn same_members(a: &[Member], b: &[Member]) -> bool {
    let strip = |member: &Member| Member { last_seen: member.joined_at, ..member.clone() };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| strip(a) == strip(b))
}
