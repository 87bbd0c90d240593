//! No effect before its cause (R10): what a node says of itself is true of its disk at the moment when it says so.

use std::fmt::Debug;

use slimcluster_core::node::bootstrap::{Claim, Message as BootstrapMessage};
use slimcluster_core::node::message::{Hello, PeerMessage};
use slimcluster_core::raft::{AppendEntriesResponse, Message};
use slimcluster_core::storage::{Identity, Phase};
use slimcluster_core::{HardState, NodeId, Term};

use super::storage::{ShadowLog, Store};
use super::{Verdict, Violation};

/// The node of this `store` says `message` to `peer`.
pub fn check(message: &PeerMessage, peer: Option<NodeId>, store: &Store) -> Verdict {
    match message {
        PeerMessage::Raft { message, .. } => check_raft(message, peer, store),
        PeerMessage::Hello(hello) | PeerMessage::Welcome(hello) => check_hello(hello, store),
        PeerMessage::Bootstrap(message) => check_bootstrap(message, store),
        _ => Ok(()),
    }
}

fn check_raft(message: &Message, peer: Option<NodeId>, store: &Store) -> Verdict {
    let (held, node) = (term_and_vote(store), store.node());
    let early = || early(message, held);
    if message.term() > held.term {
        return early();
    }
    match message {
        Message::RequestVoteResponse(response) if response.granted => {
            let vote = HardState { term: response.term, vote: peer };
            if peer.is_some() && held != vote { early() } else { Ok(()) }
        }
        // Whoever asks for votes in a term, or leads it, has voted for itself.
        Message::RequestVote(_) | Message::AppendEntries(_) => {
            let vote = HardState { term: message.term(), vote: node };
            if held == vote { Ok(()) } else { early() }
        }
        Message::AppendEntriesResponse(response) if response.match_index > store.durable_log().last().0.index => {
            early()
        }
        _ => Ok(()),
    }
}

/// A node acknowledges entries to the leader of that very term, whose `log` is given: it holds the same ones.
pub fn check_match(response: &AppendEntriesResponse, store: &Store, log: &ShadowLog) -> Verdict {
    let index = response.match_index;
    match store.durable_log().chain_at(index) {
        Some(chain) if !log.holds(index, chain) => {
            let detail = format!("node {:?} acknowledges {index} with another history than its leader's", store.node());
            Err(Violation::of("answers after the disk", detail))
        }
        _ => Ok(()),
    }
}

fn check_hello(hello: &Hello, store: &Store) -> Verdict {
    let Some(identity) = store.durable_identity() else { return early(hello, "no identity") };
    if hello.from != identity.node || hello.generation != identity.generation {
        return early(hello, identity);
    }
    match (&hello.bootstrap, hello.uuid) {
        (Some(bootstrap), _) => check_claim(&bootstrap.claim, identity),
        (None, Some(uuid)) => check_claim(&Claim::JoinOnly { uuid, is_alone: false }, identity),
        (None, None) => Ok(()),
    }
}

fn check_bootstrap(message: &BootstrapMessage, store: &Store) -> Verdict {
    let Some(identity) = store.durable_identity() else { return early(message, "no identity") };
    let is_true = match message {
        BootstrapMessage::Hello(hello) => return check_claim(&hello.claim, identity),
        BootstrapMessage::Promises { promised, .. } => {
            !promised.contains(&identity.node) || matches!(identity.phase, Phase::Promised(_) | Phase::Formed { .. })
        }
        BootstrapMessage::Abandoned(abandoned) => abandoned.iter().all(|id| identity.abandoned.contains(id)),
    };
    if is_true { Ok(()) } else { early(message, identity) }
}

fn check_claim(claim: &Claim, identity: &Identity) -> Verdict {
    let is_true = match (claim, &identity.phase) {
        (Claim::Fresh { .. }, _) => true,
        (Claim::Promised { .. }, phase) => matches!(phase, Phase::Promised(_) | Phase::Formed { .. }),
        (Claim::Formed { uuid, .. }, Phase::Formed { uuid: own, .. }) => uuid == own,
        (Claim::JoinOnly { uuid, .. }, Phase::Formed { uuid: own, .. } | Phase::JoinOnly { uuid: own }) => uuid == own,
        (Claim::Formed { .. } | Claim::JoinOnly { .. }, _) => false,
    };
    if is_true { Ok(()) } else { early(claim, identity) }
}

/// Term and vote that the store called durable. A founded cluster begins in term 1, which is written nowhere else.
fn term_and_vote(store: &Store) -> HardState {
    let held = store.durable_hard_state();
    let is_formed = store.durable_identity().is_some_and(|identity| matches!(identity.phase, Phase::Formed { .. }));
    if is_formed && held.term < Term(1) { HardState { term: Term(1), vote: None } } else { held }
}

fn early(what: &impl Debug, held: impl Debug) -> Verdict {
    Err(Violation::of("answers after the disk", format!("{what:?} is said while the disk holds {held:?}")))
}

#[cfg(test)]
mod tests {
    use slimcluster_core::raft::{PreVote, RequestVote, RequestVoteResponse};
    use slimcluster_core::{GroupId, Index, LogId};

    use super::super::sample::{self, founded, run, vote, write};
    use super::*;

    const CANDIDATE: NodeId = NodeId(2);

    fn says(store: &Store, message: Message) -> bool {
        check(&PeerMessage::Raft { group: GroupId::DEFAULT, message }, Some(CANDIDATE), store).is_ok()
    }

    #[test]
    fn a_vote_before_the_disk_holds_it_is_found() {
        let mut store = founded(NodeId(1));
        let granted = Message::RequestVoteResponse(RequestVoteResponse { term: Term(2), granted: true });
        vote(&mut store, Term(2), Some(CANDIDATE), false);
        assert!(!says(&store, granted.clone()));
        vote(&mut store, Term(2), Some(CANDIDATE), true);
        assert!(says(&store, granted.clone()));
        vote(&mut store, Term(3), None, true);
        assert!(!says(&store, granted), "it has moved on");
    }

    #[test]
    fn a_term_that_the_disk_does_not_hold_is_found() {
        let mut store = founded(NodeId(1));
        let pre_vote = |term| Message::PreVote(PreVote { term: Term(term), last: LogId::default() });
        assert!(says(&store, pre_vote(1)));
        assert!(!says(&store, pre_vote(2)));
        let request =
            |term| Message::RequestVote(RequestVote { term: Term(term), last: LogId::default(), released: false });
        vote(&mut store, Term(2), None, true);
        assert!(says(&store, pre_vote(2)));
        assert!(!says(&store, request(2)), "its own vote is not there");
        vote(&mut store, Term(2), Some(NodeId(1)), true);
        assert!(says(&store, request(2)));
    }

    #[test]
    fn an_acknowledgement_of_what_the_disk_does_not_hold_is_found() {
        let mut store = founded(NodeId(1));
        let leader = founded(CANDIDATE);
        let entry = run(2, 1, sample::base_chain());
        let response = AppendEntriesResponse { term: Term(1), round: 1, match_index: Index(2), conflict: None };
        write(&mut store, std::slice::from_ref(&entry), false);
        assert!(!says(&store, Message::AppendEntriesResponse(response.clone())));
        write(&mut store, std::slice::from_ref(&entry), true);
        assert!(says(&store, Message::AppendEntriesResponse(response.clone())));
        assert!(check_match(&response, &store, leader.accepted_log()).is_err(), "its leader has no such entry");
        check_match(&response, &store, store.accepted_log()).unwrap();
    }

    #[test]
    fn a_claim_that_the_identity_file_does_not_hold_is_found() {
        let formed = sample::identity(NodeId(1));
        let fresh = Identity { phase: Phase::Fresh, ..formed.clone() };
        let uuid = sample::UUID;
        let claim = Claim::Formed { uuid, members: Vec::new() };
        check_claim(&claim, &formed).unwrap();
        assert!(check_claim(&claim, &fresh).is_err());
        let joins = Claim::JoinOnly { uuid, is_alone: false };
        assert!(check_claim(&joins, &fresh).is_err());
        check_claim(&joins, &Identity { phase: Phase::JoinOnly { uuid }, ..fresh }).unwrap();
    }
}
