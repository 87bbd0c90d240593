//! What the journal and the black box find, shown on replicas and clients that lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use slimcluster_core::machine::{
    ApplyContext, Budget, CODEC_POSTCARD, Codec as _, Command, Host, Machine, MachineEntry, MachineError, Postcard,
    SessionEntry, StateMachine, encode_reply,
};
use slimcluster_core::node::io::Refused;
use slimcluster_core::random::Random;
use slimcluster_core::{
    Block, Generation, GroupId, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term, WallTime,
};

use super::black_box;
use super::journal::{Asked, Journal};
use super::load::MachineLoad;
use super::watched::{SharedJournal, lock};
use crate::checkers::Verdict;
use crate::network::Endpoint;
use crate::workload::{OperationId, Workload as _};

/// A sum; answers what it was before.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Sum(u64);

impl StateMachine for Sum {
    type Command = u64;
    type Reply = u64;

    fn apply(&mut self, _: &ApplyContext, add: u64) -> u64 {
        self.0 += add;
        self.0 - add
    }
}

/// A machine that keeps the contexts it is given: only a host makes them.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<ApplyContext>>>);

impl Machine for Keeper {
    fn inline(&self) -> bool {
        true
    }

    fn apply(&self, cx: &ApplyContext, _: Command<'_>) -> Result<Bytes, MachineError> {
        self.0.lock().unwrap().push(cx.again());
        Ok(Bytes::new())
    }

    fn snapshot(&self) -> Result<Bytes, MachineError> {
        Ok(Bytes::new())
    }

    fn restore(&self, _: Option<&[u8]>) -> Result<(), MachineError> {
        Ok(())
    }
}

/// The contexts of four commands, which stand at 4 to 7.
fn contexts() -> Vec<ApplyContext> {
    let header = |kind, first| RunHeader {
        group: GroupId::DEFAULT,
        kind,
        codec: CODEC_POSTCARD,
        command_version: 1,
        term: Term(1),
        first: Index(first),
        machine: MachineId(3),
        log_time: LogTime(0),
        wall_time: WallTime(0),
        chain: 0,
    };
    let open = SessionEntry::Open { node: NodeId(1), generation: Generation(1) };
    let block = Block { session: SessionId(2), first_number: 1, count: 4, acked_below: 1 };
    let keeper = Keeper::default();
    let mut host = Host::new(NodeId(1), Generation(1));
    host.register("sum", Box::new(keeper.clone())).unwrap();
    host.apply(vec![
        Run::single(header(RunKind::Session, 2), open.encode()),
        Run::single(header(RunKind::Machine, 3), MachineEntry { name: "sum".to_owned() }.encode()),
        Run::commands(header(RunKind::Command, 4), vec![block], [&b"1"[..]; 4]).unwrap(),
    ]);
    host.step(Budget { entries_max: 9, bytes_max: 999 });
    let contexts = std::mem::take(&mut *keeper.0.lock().unwrap());
    assert_eq!(contexts.len(), 4);
    contexts
}

fn bytes(value: u64) -> Bytes {
    Postcard.encode(&value).unwrap()
}

fn reply(value: u64) -> Bytes {
    encode_reply(CODEC_POSTCARD, &value).unwrap()
}

const FIRST: Endpoint = Endpoint { place: 0, start: 1 };
const SECOND: Endpoint = Endpoint { place: 1, start: 1 };

/// A run in small: operation `n` adds 1 at `10 n`.
struct Story {
    journal: Journal,
    contexts: Vec<ApplyContext>,
}

impl Story {
    fn new(commands: u64) -> Self {
        let mut journal = Journal::default();
        for number in 0..commands {
            assert_eq!(journal.begin(number, 10 * number, Asked::Command(bytes(1))), number);
        }
        Story { journal, contexts: contexts() }
    }

    /// `by` applies the command of `operation` at `4 + position`, answers and holds these.
    fn applies(&mut self, by: Endpoint, position: usize, operation: u64, (told, state): (u64, u64)) -> Verdict {
        let command = (operation, CODEC_POSTCARD, &bytes(1)[..]);
        let cx = &self.contexts[position];
        let state = self.journal.wants_state(cx.index()).then(|| bytes(state));
        self.journal.on_applied::<Sum>(by, cx, command, &reply(told), state);
        self.journal.verdict()
    }

    fn committed(&mut self, at: u64, operation: u64, index: u64, told: u64) -> Verdict {
        self.journal.on_committed::<Sum>(at, operation, Index(index), &reply(told))
    }

    fn read(&mut self, (began, at): (u64, u64), by: Endpoint, state: u64) -> Verdict {
        let number = self.journal.begin(9, began, Asked::Read);
        self.journal.on_read(at, number, by, bytes(state))
    }
}

/// Two commands, on both replicas, acknowledged and read.
fn good() -> Story {
    let mut story = Story::new(2);
    for by in [FIRST, SECOND] {
        story.applies(by, 0, 0, (0, 1)).unwrap();
        story.applies(by, 1, 1, (1, 2)).unwrap();
    }
    story.committed(20, 0, 4, 0).unwrap();
    story.committed(21, 1, 5, 1).unwrap();
    story.read((30, 40), SECOND, 2).unwrap();
    story
}

#[test]
fn a_good_story_passes() {
    let story = good();
    story.journal.audit(FIRST).unwrap();
    story.journal.audit(SECOND).unwrap();
    black_box::judge::<Sum>(&story.journal).unwrap();
}

#[test]
fn every_lie_of_a_replica_is_found() {
    let begun = || {
        let mut story = Story::new(3);
        story.applies(FIRST, 0, 0, (0, 1)).unwrap();
        story.applies(FIRST, 2, 1, (1, 2)).unwrap();
        story
    };
    let found = |by, position, operation, effect| {
        let violation = begun().applies(by, position, operation, effect).unwrap_err();
        (violation.property, violation.detail)
    };
    let (property, detail) = found(SECOND, 0, 0, (7, 1));
    let expected = "the answers differ since command number 1, at 4 of the log: 1\nn1 answered 0\nn2 answered 7";
    assert_eq!((property, &*detail), ("equal replicas", expected));
    let (property, detail) = found(SECOND, 0, 0, (0, 8));
    let expected = "the states differ since command number 1, at 4 of the log: 1\n  - n1\n  + n2\n  - 1\n  + 8";
    assert_eq!((property, &*detail), ("equal replicas", expected));
    assert_eq!(found(SECOND, 0, 1, (0, 1)).0, "equal replicas", "another command at the same place");
    assert_eq!(found(SECOND, 1, 2, (1, 2)).0, "equal replicas", "a command where others had none");
    assert_eq!(found(FIRST, 3, 0, (2, 3)).0, "exactly once");
    assert_eq!(found(FIRST, 3, 99, (2, 3)).0, "no phantom");
}

#[test]
fn every_lie_to_a_client_is_found() {
    let found = |verdict: Verdict| verdict.unwrap_err().property;
    assert_eq!(found(good().committed(50, 0, 5, 0)), "exactly once", "the place of another");
    assert_eq!(found(good().committed(50, 0, 4, 9)), "exactly once", "another answer");
    assert_eq!(found(good().journal.on_refused(0)), "not committed");
    assert_eq!(found(good().journal.on_refused(99)), "one outcome");
    let mut refused = Story::new(1);
    refused.journal.on_refused(0).unwrap();
    assert_eq!(found(refused.applies(FIRST, 0, 0, (0, 1))), "not committed");

    let mut lost = good();
    lost.journal.on_ended(SECOND);
    assert_eq!(found(lost.journal.audit(SECOND)), "durability");
    assert_eq!(found(lost.read((50, 60), SECOND, 0)), "linearizability", "a replica that has applied too little");
}

#[test]
fn what_only_clients_see_is_judged_without_the_log() {
    let judge = |story: &Story| black_box::judge::<Sum>(&story.journal).unwrap_err();
    // The replica has applied everything, and shows an older state.
    let mut stale = good();
    stale.read((50, 60), FIRST, 1).unwrap();
    let violation = judge(&stale);
    assert_eq!(violation.property, "linearizability");
    assert!(violation.detail.contains("read -> 1   <- fits nowhere"), "{}", violation.detail);

    let mut phantom = good();
    phantom.read((50, 60), FIRST, 3).unwrap();
    assert!(judge(&phantom).detail.contains("the state is then 2"));
}

fn load() -> MachineLoad<Sum> {
    MachineLoad {
        draw: Arc::new(|_| 1),
        always: Arc::default(),
        eventually: Arc::default(),
        journal: SharedJournal::default(),
        rng: Random::new(1),
        replicas: BTreeMap::new(),
    }
}

#[test]
fn a_run_without_commands_is_no_test() {
    assert_eq!(load().finish().unwrap_err().property, "a load");
}

#[test]
fn a_command_that_no_cluster_takes_is_no_load() {
    let mut load = load();
    let number = lock(&load.journal).begin(0, 0, Asked::Command(bytes(1)));
    let refused = Refused::TooLarge { bytes: 9_000_000, bytes_max: 1_310_720 };
    let violation = load.on_refused(10, OperationId(number), refused).unwrap_err();
    assert_eq!(violation.property, "a load");
    assert!(violation.detail.contains("9000000 bytes, and 1310720 is the most"), "{}", violation.detail);
}

#[test]
fn a_state_that_is_too_large_to_judge_does_not_pass_for_good() {
    let mut story = good();
    story.journal.records[1].state = Some(vec![0; (16 << 20) + 1].into());
    let violation = black_box::judge::<Sum>(&story.journal).unwrap_err();
    assert_eq!(violation.property, "linearizability, which could not be judged");
    assert!(violation.detail.contains("16777217 bytes"), "{}", violation.detail);
}

#[test]
fn a_search_that_is_given_up_names_what_the_test_can_change() {
    let violation = black_box::judge_within::<Sum>(&good().journal, 1).unwrap_err();
    assert_eq!(violation.property, "linearizability, which could not be judged");
    let expected = "no order of 3 operations, 0 of them without a known outcome, was found in 1 steps";
    assert!(violation.detail.starts_with(expected), "{}", violation.detail);
    for remedy in ["nothing is known to be wrong", ".clients(..)", ".duration(..)"] {
        assert!(violation.detail.contains(remedy), "{}", violation.detail);
    }
    assert!(!violation.detail.contains("work_max") && !violation.detail.contains("key"), "{}", violation.detail);
}

#[test]
fn where_a_search_would_not_end_the_first_half_is_judged() {
    let with_reads = |lies: &[u64]| {
        let mut story = good();
        for number in 0..397 {
            let seen = if lies.contains(&number) { 1 } else { 2 };
            story.read((50 + 10 * number, 55 + 10 * number), SECOND, seen).unwrap();
        }
        black_box::judge_within::<Sum>(&story.journal, 300)
    };
    with_reads(&[]).unwrap();
    assert_eq!(with_reads(&[100]).unwrap_err().property, "linearizability");
}
