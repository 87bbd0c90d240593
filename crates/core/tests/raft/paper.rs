//! Sentences of the paper and rules of this project that a script cannot put, one test each: messages are made by hand.

use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::raft::{
    AppendEntries, AppendEntriesResponse, DropReason, Input, Message, Options, Output, PreVote, PreVoteResponse,
    Proposal, ProposeError, Raft, ReadError, ReadId, RequestVote, Role, Standing,
};
use slimcluster_core::{
    Index, Instant, LogId, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, Term, WallTime, WriteSeq,
};

use super::cluster::{Cluster, GROUP};

const A: NodeId = NodeId(2);
const B: NodeId = NodeId(3);

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

/// Node 1 of three, freshly formed, taken out of its cluster.
fn node() -> Raft {
    let mut cluster = Cluster::new(&[Standing::Voter; 3], Options::lan(), 7);
    cluster.nodes.get_mut(&NodeId(1)).and_then(|node| node.raft.take()).unwrap()
}

/// An entry of one byte, which no reader looks into.
fn entry(term: u64, index: u64, chain: u64) -> Run {
    let header = RunHeader {
        group: GROUP,
        kind: RunKind::Session,
        codec: 0,
        command_version: 0,
        term: Term(term),
        first: Index(index),
        machine: MachineId(0),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain,
    };
    Run::single(header, Bytes::from_static(b"e"))
}

fn append(term: u64, prev: LogId, leader_commit: u64, runs: Vec<Run>) -> Message {
    let prev_chain = runs.first().map_or(0, |run| run.header().chain);
    let leader_commit = Index(leader_commit);
    Message::AppendEntries(AppendEntries { term: Term(term), prev, prev_chain, leader_commit, round: 1, runs })
}

/// Entries of these terms from index 2 on.
fn entries(terms: &[u64]) -> Vec<Run> {
    let mut chain = Cluster::new(&[Standing::Voter; 3], Options::lan(), 7).founding_chain();
    let next = |(at, &term): (usize, &u64)| {
        let run = entry(term, at as u64 + 2, chain);
        chain = run.chain_end();
        run
    };
    terms.iter().enumerate().map(next).collect()
}

/// Hands in a message, completes every write, and returns what was sent.
fn step(raft: &mut Raft, from: NodeId, message: Message) -> Vec<Message> {
    raft.handle(Instant::ZERO, Input::Message { from, message });
    let mut sent = Vec::new();
    while let Some(output) = raft.poll_output() {
        match output {
            Output::Send { message, .. } => sent.push(message),
            Output::Write { seq, .. } => raft.handle(Instant::ZERO, Input::Written(seq)),
            _ => {}
        }
    }
    sent
}

fn is_granted(sent: &[Message]) -> bool {
    match sent {
        [Message::RequestVoteResponse(response)] => response.granted,
        [Message::PreVoteResponse(response)] => response.granted,
        other => panic!("one answer was expected: {other:?}"),
    }
}

fn request(term: u64, last: LogId) -> Message {
    Message::RequestVote(RequestVote { term: Term(term), last, released: true })
}

/// 5.4.1: "If the logs have last entries with different terms, then the log with the later term is more up-to-date. If the logs end
/// with the same term, then whichever log is longer is more up-to-date."
#[test]
fn a_vote_goes_to_a_log_that_is_at_least_as_up_to_date() {
    let cases = [(id(2, 3), true), (id(2, 4), true), (id(3, 2), true), (id(2, 2), false), (id(1, 9), false)];
    for (last, granted) in cases {
        let mut raft = node();
        step(&mut raft, A, append(2, id(1, 1), 0, entries(&[2, 2])));
        assert_eq!(is_granted(&step(&mut raft, B, request(9, last))), granted, "{last}");
    }
}

/// 5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis."
#[test]
fn one_vote_in_a_term() {
    let mut raft = node();
    assert!(is_granted(&step(&mut raft, A, request(2, id(1, 1)))));
    assert!(!is_granted(&step(&mut raft, B, request(2, id(1, 1)))));
    assert!(is_granted(&step(&mut raft, A, request(2, id(1, 1)))), "a lost answer is given again");
    assert!(is_granted(&step(&mut raft, B, request(3, id(1, 1)))));
}

/// A pre-vote is promised to everyone who asks well: it is no vote and changes nothing.
#[test]
fn pre_votes_bind_nobody() {
    let mut raft = node();
    let ask = |term| Message::PreVote(PreVote { term: Term(term), last: id(1, 1) });
    assert!(is_granted(&step(&mut raft, A, ask(1))));
    assert!(is_granted(&step(&mut raft, B, ask(1))));
    assert_eq!((raft.term(), raft.hard_state().vote), (Term(1), None));
    assert!(is_granted(&step(&mut raft, A, ask(4))));
    assert_eq!(raft.term(), Term(4), "a term that some election has opened is adopted");
    assert!(!is_granted(&step(&mut raft, B, ask(3))));
}

/// 5.1: "If a server receives a request with a stale term number, it rejects the request"; Figure 2: the answer holds the "currentTerm,
/// for leader to update itself" (rule 28).
#[test]
fn a_leader_of_an_earlier_term_is_told_the_current_one() {
    let mut raft = node();
    step(&mut raft, B, request(4, id(1, 1)));
    let answer = AppendEntriesResponse { term: Term(4), round: 0, match_index: Index(0), conflict: None };
    let sent = step(&mut raft, A, append(3, id(1, 1), 2, entries(&[3])));
    assert_eq!(sent, [Message::AppendEntriesResponse(answer)]);
    assert_eq!((raft.last(), raft.commit_index(), raft.leader()), (id(1, 1), Index(1), None));
}

/// A promise holds for the term that was asked about: one that was asked for in an earlier term opens none, whatever term the answer
/// states.
#[test]
fn a_promise_of_an_earlier_term_does_not_count() {
    let mut raft = node();
    step(&mut raft, B, request(4, id(1, 1)));
    let due = raft.poll_timeout().unwrap();
    raft.handle(due, Input::Timeout);
    while raft.poll_output().is_some() {}
    let promise =
        |asked| Message::PreVoteResponse(PreVoteResponse { term: Term(4), asked: Term(asked), granted: true });
    assert_eq!(step(&mut raft, A, promise(3)), []);
    assert_eq!((raft.role(), raft.term()), (Role::Candidate, Term(4)));
    assert_eq!(raft.drops().get(&DropReason::Stale), Some(&1));
    step(&mut raft, A, promise(4));
    assert_eq!((raft.role(), raft.term()), (Role::Candidate, Term(5)));
}

/// Figure 2: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)": what lies beyond may be
/// another leader's.
#[test]
fn commit_is_believed_as_far_as_it_was_proved() {
    let mut raft = node();
    let log = entries(&[2, 2, 2]);
    step(&mut raft, A, append(2, id(1, 1), 0, log.clone()));
    // The leader of term 3 holds the first of the three, and nothing is known of the others.
    step(&mut raft, B, append(3, id(2, 2), 9, Vec::new()));
    assert_eq!(raft.commit_index(), Index(2));
    step(&mut raft, B, append(3, id(2, 3), 9, vec![log[2].clone()]));
    assert_eq!(raft.commit_index(), Index(4));
}

/// Figure 2: "If an existing entry conflicts with a new one (same index but different terms), delete the existing entry and all that
/// follow it"; and only then.
#[test]
fn only_a_conflict_cuts_off() {
    let mut raft = node();
    let log = entries(&[2, 2, 2]);
    step(&mut raft, A, append(2, id(1, 1), 0, log.clone()));
    step(&mut raft, A, append(2, id(1, 1), 0, log[..1].to_vec()));
    assert_eq!(raft.last(), id(2, 4), "a late copy of the beginning");
    let other = entry(3, 3, log[0].chain_end());
    step(&mut raft, B, append(3, id(2, 2), 0, vec![other]));
    assert_eq!(raft.last(), id(3, 3));
}

/// Rule 12: what is committed is never replaced; a leader that tries is no leader of ours, and the group stops.
#[test]
fn a_committed_entry_is_never_replaced() {
    let mut raft = node();
    let log = entries(&[2, 2]);
    step(&mut raft, A, append(2, id(1, 1), 3, log.clone()));
    assert_eq!(raft.commit_index(), Index(3));
    let other = entry(3, 3, log[0].chain_end());
    step(&mut raft, B, append(3, id(2, 2), 3, vec![other]));
    assert!(raft.fatal().is_some());
    assert_eq!(raft.poll_timeout(), None);
    assert_eq!(raft.read(Instant::ZERO, ReadId(1)), Err(ReadError::Stopped));
}

/// Figure 3, "Log Matching", by the chain: the same term and index with other bytes before them.
#[test]
fn two_histories_under_one_name_stop_the_group() {
    let mut raft = node();
    step(&mut raft, A, append(2, id(1, 1), 0, entries(&[2, 2])));
    let forged = entry(2, 4, 99);
    step(&mut raft, A, append(2, id(2, 3), 0, vec![forged]));
    assert!(raft.fatal().is_some_and(|fatal| fatal.reason().contains("two leaders in one term")));
}

/// Figure 3, "Election Safety".
#[test]
fn a_second_leader_of_a_term_stops_the_group() {
    let mut raft = node();
    step(&mut raft, A, append(2, id(1, 1), 0, Vec::new()));
    step(&mut raft, B, append(2, id(1, 1), 0, Vec::new()));
    assert!(raft.fatal().is_some());
}

/// Rule 28, and what a broken or hostile sender makes up: counted, dropped whole, and nothing of it believed.
#[test]
fn malformed_messages_change_nothing() {
    let log = entries(&[2, 2, 3]);
    let huge = (1 << 48) + 1;
    let malformed = [
        append(huge, id(1, 1), 0, Vec::new()),
        append(9, id(1, huge), 0, Vec::new()),
        append(9, id(1, 1), huge, Vec::new()),
        append(9, LogId::new(Term(1), Index(u64::MAX)), 0, Vec::new()),
        append(9, id(10, 1), 0, Vec::new()),
        append(9, id(1, 1), 0, vec![log[0].clone(), log[2].clone()]),
        append(9, id(1, 1), 0, vec![log[1].clone()]),
        append(2, id(2, 3), 0, vec![log[2].clone()]),
        append(9, id(3, 1), 0, vec![log[0].clone()]),
        append(9, id(1, 1), 0, vec![log[0].clone(), entry(2, 3, 5)]),
        request(huge, id(1, 1)),
        request(3, id(4, 1)),
    ];
    for (at, message) in malformed.into_iter().enumerate() {
        let mut raft = node();
        assert_eq!(step(&mut raft, A, message), [], "case {at}");
        assert_eq!((raft.term(), raft.last(), raft.leader()), (Term(1), id(1, 1), None), "case {at}");
        assert_eq!(raft.drops().get(&DropReason::Malformed), Some(&1), "case {at}");
        assert!(raft.fatal().is_none());
    }
}

/// Thesis 4.2.3: in contact with a leader, a voter neither votes nor adopts the term, whoever asks, unless the leader released it.
#[test]
fn stickiness_ends_by_the_leaders_word_only() {
    let sticky = || {
        let mut raft = node();
        step(&mut raft, A, append(2, id(1, 1), 0, Vec::new()));
        raft
    };
    let ask = |released| Message::RequestVote(RequestVote { term: Term(5), last: id(2, 9), released });
    let mut raft = sticky();
    assert!(!is_granted(&step(&mut raft, B, ask(false))));
    assert_eq!((raft.term(), raft.leader()), (Term(2), Some(A)));
    assert!(is_granted(&step(&mut raft, B, ask(true))));

    let mut raft = sticky();
    raft.handle(Instant::ZERO, Input::LeaderGone(A));
    assert!(!is_granted(&step(&mut raft, B, ask(false))), "a hint does not end it");
}

/// An acknowledgement of a write that nobody asked for is the host's fault, and nothing built on it can be right.
#[test]
fn a_completion_out_of_thin_air_stops_the_group() {
    let mut raft = node();
    raft.handle(Instant::ZERO, Input::Written(WriteSeq(1)));
    assert!(raft.fatal().is_some());
    assert!(matches!(raft.poll_output(), Some(Output::Fatal(_))));
    assert_eq!(raft.poll_output(), None);
}

/// Rule 15: log time goes on with the clock of the leader, from the last stamp in the log.
#[test]
fn log_time_passes_as_fast_as_the_leaders_clock() {
    let mut cluster = Cluster::new(&[Standing::Voter], Options::lan(), 7);
    let start = cluster.now + Duration::from_secs(1);
    cluster.advance_to(start);
    let mut raft = cluster.nodes.get_mut(&NodeId(1)).and_then(|node| node.raft.take()).unwrap();
    let mut stamp = |millis| {
        let proposal = Proposal {
            kind: RunKind::Session,
            machine: MachineId(0),
            codec: 0,
            command_version: 0,
            blocks: Vec::new(),
            commands: vec![Bytes::from_static(b"e")],
            wall_time: WallTime(1_700_000_000_000_000),
        };
        raft.propose(start + Duration::from_millis(millis), proposal).unwrap();
        let written = std::iter::from_fn(|| raft.poll_output()).find_map(|output| match output {
            Output::Write { runs, .. } => runs.first().map(|run| run.header().log_time.0),
            _ => None,
        });
        written.unwrap()
    };
    let first = stamp(0);
    assert!(first < 1_000_000, "the wall clock has no part in it");
    assert_eq!([stamp(0), stamp(250), stamp(3_000)], [first, first + 250_000, first + 3_000_000]);
}

/// A command that is too large is refused before anything is appended.
#[test]
fn the_size_of_a_command_is_checked_first() {
    let mut cluster = Cluster::new(&[Standing::Voter], Options { entry_bytes_max: 10, ..Options::lan() }, 7);
    let until = cluster.now + Duration::from_secs(1);
    cluster.advance_to(until);
    assert_eq!(cluster.raft(NodeId(1)).role(), Role::Leader);
    let last = cluster.raft(NodeId(1)).last();
    let answer = cluster.propose(NodeId(1), &["fits", "does not fit"]);
    assert_eq!(answer, Err(ProposeError::TooLarge { bytes: 12, bytes_max: 10 }));
    assert_eq!(cluster.raft(NodeId(1)).last(), last);
}
