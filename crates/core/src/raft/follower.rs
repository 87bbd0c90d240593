//! The receiver's side: Figure 2, "AppendEntries RPC" and "RequestVote RPC, receiver implementation", and "Rules for Followers".
//!
//! Votes are given by log and term alone, in every role and standing: a learner that does not know of its promotion votes, and
//! an unknown candidate is judged like any other (rule 28). Everything here has passed the term rule of [`super::raft`].

use super::io::{DropReason, Fatal};
use super::message::{AppendEntries, Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Resign};
use super::raft::Transition;
use super::state::State;
use crate::mutants::mutant;
use crate::situations::{Situation, sometimes};
use crate::{LogId, NodeId, Run};

/// The leader of this term sent entries, or a heartbeat.
pub(super) fn on_append_entries(state: &mut State, from: NodeId, message: AppendEntries) -> Result<Transition, Fatal> {
    if let Some(leader) = state.leader()
        && leader != from
    {
        return Err(Fatal::new(format!("{leader} and {from} both lead in term {}", state.term())));
    }
    state.set_leader(Some(from));
    state.note_contact();
    state.hear_round(message.round);

    if !holds(state, &message)? {
        let is_gap = message.prev.index > state.log.last().index;
        sometimes(if is_gap { Situation::GapRefused } else { Situation::ConflictRefused });
        state.refuse(message.prev);
        return Ok(Transition::Follow);
    }
    let mut end = message.prev.index;
    state.prove(end.min(state.log.last().index));
    for run in message.runs {
        end = run.last();
        accept(state, run)?;
        state.prove(end);
        state.owe(end);
    }
    // What lies beyond was not proved to be the leader's entry, whatever its commit index says.
    let proved = if mutant!(LeaderCommitBelieved) { message.leader_commit } else { state.proved() };
    let committed = message.leader_commit.min(proved);
    if committed < message.leader_commit {
        sometimes(Situation::CommitNotProved);
    }
    if committed > state.commit() {
        state.commit_to(committed)?;
    }
    Ok(Transition::Follow)
}

/// Whether the log holds the entry that the message continues.
fn holds(state: &State, message: &AppendEntries) -> Result<bool, Fatal> {
    let LogId { term, index } = message.prev;
    if index < state.log.base().index {
        // Everything up to the base is committed, so it is the leader's, too.
        return Ok(true);
    }
    match state.log.term_at(index) {
        Some(own) if own == term || mutant!(PrevTermNotChecked) => {
            let chain = if message.prev_chain == 0 { None } else { state.log.chain_at(index) };
            if chain.is_some_and(|chain| chain != message.prev_chain) {
                return Err(fork(message.prev));
            }
            Ok(true)
        }
        Some(own) if index <= state.commit() => {
            Err(Fatal::new(format!("the leader holds {} where {own} was committed", message.prev)))
        }
        _ => Ok(false),
    }
}

/// Takes the part of `run` that is new. Entries that stand here already stay, however late their copy comes; only an entry of
/// another term is replaced, and what follows it goes with it.
fn accept(state: &mut State, run: Run) -> Result<(), Fatal> {
    let Some(run) = run.slice(state.log.base().index.next(), run.last()) else { return Ok(()) };
    let same = state.log.last_matching(&run).filter(|_| !mutant!(MatchingEntriesTruncate));
    let Some(same) = same else { return state.splice(run) };
    if let (Some(own), Some(theirs)) = (state.log.chain_at(same), run.chain_at(same))
        && own != theirs
    {
        return Err(fork(LogId::new(run.term(), same)));
    }
    match run.slice(same.next(), run.last()) {
        Some(rest) => state.splice(rest),
        None => {
            sometimes(Situation::CopyOfEntries);
            Ok(())
        }
    }
}

fn fork(at: LogId) -> Fatal {
    Fatal::new(format!("the leader holds another entry {at} than this node: two leaders in one term, or corruption"))
}

/// A node asks whether it would get a vote. `is_sticky`: a leader is in contact with this node, or is this node.
pub(super) fn on_pre_vote(state: &mut State, from: NodeId, message: &PreVote, is_sticky: bool) {
    // An asker in an older term would campaign in a term that is not new here; the answer tells it the term to ask in.
    let is_current = message.term >= state.term();
    let granted = !is_sticky && is_current && is_up_to_date(state, message.last);
    if is_sticky && is_current {
        sometimes(Situation::PreVoteRefusedForTheLeader);
    } else if is_current && !granted {
        sometimes(Situation::PreVoteRefusedForItsLog);
    } else if granted && state.leader().is_some() {
        sometimes(Situation::PreVoteAfterContactLost);
    }
    let response = PreVoteResponse { term: state.term(), asked: message.term, granted };
    state.send(from, Message::PreVoteResponse(response));
}

/// A candidate of the current term asks for a vote; the answer waits until the vote is durable.
pub(super) fn on_request_vote(state: &mut State, from: NodeId, message: &RequestVote) -> Transition {
    let is_free = state.hard_state().vote.is_none_or(|vote| vote == from) && state.leader().is_none();
    let granted = (is_free || mutant!(SecondVote)) && is_up_to_date(state, message.last);
    if is_free && !granted {
        sometimes(Situation::VoteRefusedForItsLog);
    } else if state.hard_state().vote.is_some_and(|vote| vote != from && vote != state.id) {
        sometimes(Situation::VoteGivenToAnother);
    } else if !is_free && state.leader().is_none() {
        sometimes(Situation::CandidatesMet);
    }
    if granted {
        state.vote_for(from);
        state.restart_election_timer();
    }
    refuse_or_grant(state, from, granted);
    if granted { Transition::Follow } else { Transition::Stay }
}

/// Answers a vote request with the own term.
pub(super) fn refuse_or_grant(state: &mut State, from: NodeId, granted: bool) {
    let response = RequestVoteResponse { term: state.term(), granted };
    state.send(from, Message::RequestVoteResponse(response));
}

/// The leader steps down: its successor campaigns at once, without asking for pre-votes, the others wait their time.
pub(super) fn on_resign(state: &mut State, from: NodeId, message: &Resign) -> Transition {
    if state.leader().is_some_and(|leader| leader != from) {
        state.drop_part(DropReason::Unexpected);
        return Transition::Stay;
    }
    state.release();
    state.restart_election_timer();
    if message.successor && state.may_campaign() {
        sometimes(Situation::SuccessorCampaigned);
        return Transition::Campaign { released: true };
    }
    Transition::Follow
}

/// A follower has waited long enough.
pub(super) fn on_timeout(state: &mut State) -> Transition {
    if state.may_campaign() {
        return if mutant!(PreVoteSkipped) {
            Transition::Campaign { released: false }
        } else {
            Transition::AskPreVotes
        };
    }
    // It may not campaign, but it should not name a leader that is gone.
    state.release();
    if !mutant!(TimerNotRestarted) {
        state.restart_election_timer();
    }
    Transition::Stay
}

/// Paper 5.4.1: the later last term wins, then the longer log. Compared is what was accepted, durable or not (rule 8).
fn is_up_to_date(state: &State, last: LogId) -> bool {
    let own = if mutant!(VoteComparesDurable) { state.log.id_at(state.durable()) } else { state.log.last() };
    if mutant!(VoteTermNotCompared) {
        return last.index >= own.index;
    }
    (last.term, last.index) >= (own.term, own.index)
}
