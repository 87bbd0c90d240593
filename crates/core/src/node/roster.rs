//! A fixed membership: who is there is told by the links alone, with the same states as SWIM's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::io::{Event, Member, MemberState};
use super::message::Hello;
use crate::{Instant, NodeId};

/// Without a link for this long, a suspected member counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// How often the links of the living are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The members of a static list, as far as their links told.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<NodeId, Member>,
    events: Vec<Event>,
    next_look: Option<Instant>,
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
        self.next_look.get_or_insert(now + LOOK_EVERY);
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

    /// `is_linked`: whether there is a link to or from a node. Who was heard on its own link alone and is gone before ours was up has
    /// no link that could break.
    pub(super) fn handle_timeout(&mut self, now: Instant, is_linked: impl Fn(NodeId) -> bool) {
        if self.next_look.is_some_and(|at| at <= now) {
            self.next_look = Some(now + LOOK_EVERY);
            let alive = self.members.values().filter(|member| member.state == MemberState::Alive);
            let gone: Vec<NodeId> = alive.map(|member| member.id).filter(|id| !is_linked(*id)).collect();
            gone.into_iter().for_each(|id| self.lost(now, id));
        }
        for member in self.members.values_mut() {
            if member.state == MemberState::Suspect && now.since(member.last_seen) >= DEAD_AFTER {
                member.state = MemberState::Dead;
                self.events.push(Event::Failed(member.clone()));
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let suspects = self.members.values().filter(|member| member.state == MemberState::Suspect);
        suspects.map(|member| member.last_seen + DEAD_AFTER).chain(self.next_look).min()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;
    use crate::node::io::Meta;
    use crate::{Generation, Nonce};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn heard(now: Instant) -> Roster {
        let mut roster = Roster::default();
        roster.heard(
            now,
            &Hello {
                cluster_id: "roster".to_owned(),
                uuid: None,
                from: NodeId(2),
                to: None,
                name: "n2".to_owned(),
                address: ([10, 0, 0, 2], 7_000).into(),
                generation: Generation(1),
                nonce: Nonce(1),
                last: LogId::default(),
                meta: Meta::default(),
                bootstrap: None,
            },
        );
        roster
    }

    fn state(roster: &Roster) -> MemberState {
        roster.members().next().unwrap().state
    }

    #[test]
    fn a_member_that_was_heard_and_has_no_link_is_dead_in_time() {
        let mut roster = heard(at(0));
        assert_eq!(roster.poll_timeout(), Some(at(1_000)));
        roster.handle_timeout(at(1_000), |_| false);
        assert_eq!(state(&roster), MemberState::Suspect);
        roster.handle_timeout(at(6_000), |_| false);
        assert_eq!(state(&roster), MemberState::Dead);
    }

    #[test]
    fn a_quiet_member_with_a_link_stays_alive() {
        let mut roster = heard(at(0));
        for second in 1..60 {
            roster.handle_timeout(at(second * 1_000), |_| true);
            assert!(roster.poll_timeout().unwrap() > at(second * 1_000));
        }
        assert_eq!(state(&roster), MemberState::Alive);
    }
}
