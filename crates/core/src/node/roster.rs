//! A fixed membership: who is there is told by the links alone, with the same states as SWIM's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::io::{Event, Member, MemberState};
use super::message::Hello;
use crate::{Instant, NodeId};

/// Without a link for this long, a suspected member counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// The members of a static list, as far as their links told.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<NodeId, Member>,
    events: Vec<Event>,
}

impl Roster {
    /// A node proved who it is.
    pub(super) fn heard(&mut self, now: Instant, hello: &Hello) {
        let member = Member {
            id: hello.from,
            name: hello.name.clone(),
            address: hello.address,
            generation: hello.generation,
            meta: hello.meta.clone(),
            state: MemberState::Alive,
            restarting: false,
            joined_at: now,
            last_seen: now,
        };
        match self.members.get_mut(&hello.from) {
            None => {
                self.events.push(Event::Joined(member.clone()));
                self.members.insert(hello.from, member);
            }
            Some(known) => {
                let known_before = known.clone();
                *known = Member { joined_at: known_before.joined_at, ..member };
                let event: Option<fn(Member) -> Event> = match known_before.state {
                    MemberState::Dead => Some(Event::Joined),
                    _ if known_before.state != MemberState::Alive || known_before.generation != known.generation => {
                        Some(Event::StatusChanged)
                    }
                    _ if known_before.address != known.address => Some(Event::AddressChanged),
                    _ if known_before.meta != known.meta => Some(Event::MetaChanged),
                    _ => None,
                };
                self.events.extend(event.map(|event| event(known.clone())));
            }
        }
    }

    /// A message of a proven node arrived.
    pub(super) fn seen(&mut self, now: Instant, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.last_seen = now;
        }
    }

    /// The link to a node broke.
    pub(super) fn lost(&mut self, now: Instant, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| member.state == MemberState::Alive) {
            member.state = MemberState::Suspect;
            member.last_seen = now;
            self.events.push(Event::Suspected(member.clone()));
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if member.state == MemberState::Suspect && now.since(member.last_seen) >= DEAD_AFTER {
                member.state = MemberState::Dead;
                self.events.push(Event::Failed(member.clone()));
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let suspects = self.members.values().filter(|member| member.state == MemberState::Suspect);
        suspects.map(|member| member.last_seen + DEAD_AFTER).min()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}
