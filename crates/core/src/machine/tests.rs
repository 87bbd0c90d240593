//! The host against logs: every entry once, in slices of any size, equal bytes on every replica.

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::random::Random;
use crate::{
    Block, CommandId, Generation, GroupId, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime,
};

const OWNER: NodeId = NodeId(1);
const ALL: Budget = Budget { entries_max: usize::MAX, bytes_max: usize::MAX };

/// Remembers every command that was applied to it, and what the context said.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    applied: Vec<(CommandIdOf, u64)>,
}

type CommandIdOf = (u64, u64);

#[derive(Serialize, Deserialize)]
enum Entry {
    Note(u64),
    Panic,
}

impl StateMachine for Ledger {
    type Command = Entry;
    type Reply = (u64, u64);
    const VERSION: u32 = 2;

    fn apply(&mut self, cx: &ApplyContext, command: Entry) -> (u64, u64) {
        let Entry::Note(value) = command else { panic!("told to") };
        let drawn = cx.rng().next() ^ cx.rng().next();
        self.applied.push(((cx.command().session.0, cx.command().number), value ^ drawn));
        (cx.index().0, drawn)
    }
}

/// A log under construction.
struct Log {
    runs: Vec<Run>,
    next: u64,
}

impl Log {
    fn new() -> Self {
        Log { runs: Vec::new(), next: 2 }
    }

    fn header(&self, kind: RunKind, machine: u64, version: u32) -> RunHeader {
        RunHeader {
            group: GroupId::DEFAULT,
            kind,
            codec: if kind == RunKind::Command { CODEC_POSTCARD } else { 0 },
            command_version: version,
            term: Term(1),
            first: Index(self.next),
            machine: MachineId(machine),
            log_time: LogTime(self.next * 10),
            wall_time: WallTime(self.next * 1_000),
            chain: 0,
        }
    }

    fn single(&mut self, kind: RunKind, payload: Bytes) -> u64 {
        self.runs.push(Run::single(self.header(kind, 0, 0), payload));
        self.next += 1;
        self.next - 1
    }

    fn name(&mut self, name: &str) -> u64 {
        self.single(RunKind::Machine, MachineEntry { name: name.to_owned() }.encode())
    }

    fn open(&mut self, node: NodeId, generation: u64) -> u64 {
        self.single(RunKind::Session, SessionEntry::Open { node, generation: Generation(generation) }.encode())
    }

    /// One run of commands (session, number, acked_below), each of a value that its id determines.
    fn commands(&mut self, machine: u64, commands: &[(u64, u64, u64)]) {
        let block = |&(session, first_number, acked_below): &(u64, u64, u64)| Block {
            session: SessionId(session),
            first_number,
            count: 1,
            acked_below,
        };
        let bytes: Vec<Bytes> = commands.iter().map(|c| encoded(&Entry::Note(c.0 * 1_000 + c.1))).collect();
        let header = self.header(RunKind::Command, machine, 1);
        let run = Run::commands(header, commands.iter().map(block).collect(), bytes.iter().map(|b| &b[..])).unwrap();
        self.next += run.count();
        self.runs.push(run);
    }

    fn command(&mut self, header: RunHeader, session: u64, number: u64, command: &[u8]) {
        let block = Block { session: SessionId(session), first_number: number, count: 1, acked_below: 1 };
        self.runs.push(Run::commands(header, vec![block], [command]).unwrap());
        self.next += 1;
    }
}

fn encoded(entry: &Entry) -> Bytes {
    Postcard.encode(entry).unwrap()
}

fn host(runs: &[Run], ledger: &Typed<Ledger>) -> Host {
    let mut host = Host::new(OWNER, Generation(1));
    host.register("ledger", Box::new(ledger.clone())).unwrap();
    host.apply(runs.to_vec());
    host
}

fn applied_ids(ledger: &Typed<Ledger>) -> Vec<CommandIdOf> {
    ledger.read(|ledger| ledger.applied.iter().map(|(id, _)| *id).collect()).unwrap()
}

fn outcome(applied: &Applied, session: u64, number: u64) -> Vec<&CommandOutcome> {
    let id = CommandId { session: SessionId(session), number };
    applied.outcomes.iter().filter(|(of, _, _)| *of == id).map(|(_, _, outcome)| outcome).collect()
}

#[test]
fn a_command_applies_once_and_its_copies_get_the_first_reply() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let (own, other) = (log.open(OWNER, 1), log.open(NodeId(2), 7));
    log.commands(machine, &[(own, 2, 1), (other, 1, 1), (own, 1, 1), (own, 2, 1)]);
    log.commands(machine, &[(own, 2, 1), (own, 3, 3), (own, 1, 1), (99, 1, 1)]);

    let ledger = Typed::new();
    let mut host = host(&log.runs, &ledger);
    let applied = host.step(ALL).unwrap();
    assert_eq!(applied.through, Index(log.next - 1));
    assert_eq!((applied.session, applied.waiting.clone()), (Some(SessionId(own)), None));
    assert_eq!(applied.machines, [("ledger".to_owned(), MachineId(machine))]);
    assert_eq!(applied_ids(&ledger), [(own, 2), (other, 1), (own, 1), (own, 3)]);

    let copies = outcome(&applied, own, 2);
    assert!(matches!(copies[..], [CommandOutcome::Applied(_), ..]) && copies.iter().all(|copy| *copy == copies[0]));
    let CommandOutcome::Applied(reply) = copies[0] else { unreachable!() };
    assert_eq!(decode_reply::<(u64, u64)>(reply).unwrap().0, 5, "the index of the first copy");
    assert_eq!(outcome(&applied, own, 1)[1], &CommandOutcome::Evicted, "the owner no longer awaits it");
    assert!(outcome(&applied, other, 1).is_empty(), "another node's outcomes are not this node's business");
    assert_eq!(host.step(ALL), None);
}

#[test]
fn a_closed_or_unknown_session_applies_nothing() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let old = log.open(OWNER, 1);
    log.single(RunKind::Session, SessionEntry::Close { session: SessionId(old) }.encode());
    log.commands(machine, &[(old, 1, 1), (77, 1, 1)]);
    let ledger = Typed::new();
    let applied = host(&log.runs, &ledger).step(ALL).unwrap();
    assert_eq!(outcome(&applied, old, 1), [&CommandOutcome::UnknownSession]);
    assert!(applied_ids(&ledger).is_empty());
}

#[test]
fn apply_waits_for_a_machine_and_says_so_once() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let own = log.open(OWNER, 1);
    log.commands(machine, &[(own, 1, 1)]);
    log.single(RunKind::Noop, Bytes::new());

    let mut host = Host::new(OWNER, Generation(1));
    host.apply(log.runs);
    let applied = host.step(ALL).unwrap();
    assert_eq!((applied.through, applied.waiting), (Index(own), Some(Waiting::Unregistered("ledger".to_owned()))));
    assert_eq!(host.step(ALL), None);
    host.register("other", Box::new(Typed::<Ledger>::new())).unwrap();
    assert_eq!(host.step(ALL), None);

    let ledger = Typed::new();
    host.register("ledger", Box::new(ledger.clone())).unwrap();
    assert!(host.register("ledger", Box::new(Typed::<Ledger>::new())).is_err());
    let applied = host.step(ALL).unwrap();
    assert_eq!((applied.through, applied.waiting), (Index(own + 2), None));
    assert_eq!(applied_ids(&ledger), [(own, 1)]);
}

#[test]
fn a_panic_halts_apply_and_is_never_skipped() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let own = log.open(OWNER, 1);
    log.commands(machine, &[(own, 1, 1)]);
    let before = log.runs.clone();
    log.command(log.header(RunKind::Command, machine, 1), own, 2, &encoded(&Entry::Panic));
    log.commands(machine, &[(own, 3, 1)]);

    let ledger = Typed::new();
    let mut halted = host(&log.runs, &ledger);
    let applied = halted.step(ALL).unwrap();
    let reason = "entry 5 cannot be applied: machine \"ledger\": it panicked: told to".to_owned();
    assert_eq!((applied.through, applied.waiting), (Index(4), Some(Waiting::Halted(reason))));
    assert_eq!(halted.step(ALL), None);
    assert!(halted.serialise().is_err(), "a state that may be half changed does not travel");
    assert!(ledger.read(|_| ()).is_err(), "nor is it shown");

    let mut sound = host(&before, &Typed::new());
    sound.step(ALL);
    let state = sound.serialise().unwrap();
    halted.restore(&state).unwrap();
    assert_eq!(applied_ids(&ledger), [(own, 1)]);
    assert_eq!(halted.serialise().unwrap(), state);
    assert!(matches!(halted.step(ALL).unwrap().waiting, Some(Waiting::Halted(_))), "the entry is still there");
}

#[test]
fn what_this_build_cannot_read_halts_apply_with_the_reason() {
    let halt = |build: &dyn Fn(&mut Log, u64, u64)| {
        let mut log = Log::new();
        let machine = log.name("ledger");
        let own = log.open(OWNER, 1);
        build(&mut log, machine, own);
        log.single(RunKind::Noop, Bytes::new());
        let applied = host(&log.runs, &Typed::new()).step(ALL).unwrap();
        assert_eq!(applied.through, Index(own));
        match applied.waiting {
            Some(Waiting::Halted(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let command = |change: fn(&mut RunHeader), bytes: Bytes| {
        halt(&move |log: &mut Log, machine, own| {
            let mut header = log.header(RunKind::Command, machine, 1);
            change(&mut header);
            log.command(header, own, 1, &bytes);
        })
    };
    let note = encoded(&Entry::Note(1));
    assert!(command(|header| header.command_version = 3, note.clone()).contains("version 3"));
    assert!(command(|header| header.codec = 200, note.clone()).contains("codec 200"));
    assert!(command(|header| header.machine = MachineId(9), note).contains("no machine 9"));
    assert!(command(|_| (), Bytes::from_static(b"\x09")).contains("cannot be read"));
    let single = |kind, payload| {
        halt(&move |log: &mut Log, _, _| {
            log.single(kind, Bytes::from_static(payload));
        })
    };
    assert!(single(RunKind::Session, b"\xff").contains("not a session entry"));
    assert!(single(RunKind::Machine, b"").contains("without a name"));
}

#[test]
fn a_gap_in_the_log_halts_and_an_overlap_is_skipped() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let own = log.open(OWNER, 1);
    log.commands(machine, &[(own, 1, 1), (own, 2, 1), (own, 3, 1)]);
    let ledger = Typed::new();
    let mut host = host(&log.runs[..2], &ledger);
    host.step(ALL);
    let run = &log.runs[2];
    host.apply(vec![run.slice(Index(4), Index(4)).unwrap()]);
    host.apply(vec![run.clone()]);
    host.step(ALL);
    assert_eq!(applied_ids(&ledger), [(own, 1), (own, 2), (own, 3)]);
    host.apply(vec![Run::single(RunHeader { first: Index(9), ..*log.runs[0].header() }, Bytes::new())]);
    assert!(matches!(host.step(ALL).unwrap().waiting, Some(Waiting::Halted(reason)) if reason.contains("missing")));
}

#[test]
fn the_serialised_state_has_its_golden_bytes() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    log.name("unused");
    let own = log.open(OWNER, 1);
    log.commands(machine, &[(own, 2, 1)]);
    let mut host = host(&log.runs, &Typed::new());
    host.step(ALL);
    let state = host.serialise().unwrap();
    let hex: String = state.iter().map(|byte| format!("{byte:02x}")).collect();
    // version, applied, the two machines (one with a state), the session with its one reply. The reply also pins the random numbers
    // that a command draws: replicas of different builds must draw the same.
    assert_eq!(hex, GOLDEN);
    for end in 0..state.len() {
        let _ = Host::new(OWNER, Generation(1)).restore(&state[..end]);
    }
}

const GOLDEN: &str = concat!(
    "080110051a18080212066c65646765721a0c0104029ff7b4e7e3b7bdba4c1a0a08031206756e75736564",
    "222b0804121000000000000000000000000000000001180120012a11080210051a0b0105bde8b4e7e3b7bdba4c",
);

#[cfg(feature = "mutants")]
#[test]
fn the_mutant_applies_copies() {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let own = log.open(OWNER, 1);
    log.commands(machine, &[(own, 1, 1), (own, 1, 1)]);
    let ledger = Typed::new();
    let _planted = crate::mutants::plant(Some(crate::mutants::Mutant::SessionDedupSkipped));
    host(&log.runs, &ledger).step(ALL);
    assert_eq!(applied_ids(&ledger).len(), 2);
}

/// A log of three nodes whose commands come in copies, out of order, across restarts.
fn random_log(rng: &mut Random, entries: usize) -> (Log, u64) {
    let mut log = Log::new();
    let machine = log.name("ledger");
    let mut sessions: Vec<(u64, u64, u64)> = Vec::new(); // id, highest number, acked below
    let mut generations = [1u64; 3];
    for _ in 0..entries {
        match rng.below(12) {
            0 => {
                let node = rng.below(3) as usize;
                generations[node] += rng.below(2);
                let late = generations[node].saturating_sub(rng.below(2));
                sessions.push((log.open(NodeId(1 + node as u128), late), 0, 1));
            }
            1 if rng.chance(1, 4) => {
                let session = SessionId(2 + rng.below(log.next));
                log.single(RunKind::Session, SessionEntry::Close { session }.encode());
            }
            2 => drop(log.name("ledger")),
            _ => {
                let mut commands = Vec::new();
                for _ in 0..1 + rng.below(6) {
                    let at = rng.below(sessions.len().max(1) as u64) as usize;
                    let Some((id, highest, acked)) = sessions.get_mut(at) else { break };
                    let number = *acked + rng.below(6);
                    *highest = number.max(*highest);
                    *acked += u64::from(rng.chance(1, 3) && *acked < *highest);
                    // Copies carry what their owner knew when it sent them.
                    commands.push((*id, number, acked.saturating_sub(rng.below(3)).max(1).min(number)));
                }
                if !commands.is_empty() {
                    log.commands(machine, &commands);
                }
            }
        }
    }
    (log, machine)
}

/// Applies `runs` cut, handed over and sliced at random; restarts from the serialised state now and then.
fn random_replica(rng: &mut Random, runs: &[Run]) -> (Bytes, Vec<CommandIdOf>, Vec<Applied>) {
    let mut ledger = Typed::new();
    let mut host = Host::new(OWNER, Generation(1));
    let mut is_registered = false;
    let mut all = Vec::new();
    let mut cut: Vec<Run> = Vec::new();
    for run in runs {
        let middle = Index(run.first().0 + rng.below(run.count()));
        cut.extend(run.slice(run.first(), middle));
        cut.extend(run.slice(middle.next(), run.last()));
    }
    let mut waiting_to_come = cut.clone().into_iter().peekable();
    let last = runs.last().map_or(Index(0), Run::last);
    while host.applied() < last {
        let taken: Vec<Run> = waiting_to_come.by_ref().take(rng.below(4) as usize).collect();
        host.apply(taken);
        if !is_registered && rng.chance(1, 3) {
            host.register("ledger", Box::new(ledger.clone())).unwrap();
            is_registered = true;
        }
        let budget = Budget { entries_max: rng.below(4) as usize, bytes_max: rng.below(20) as usize };
        all.extend(host.step(budget));
        if rng.chance(1, 10) && host.applied() > Index(0) {
            let state = host.serialise().unwrap();
            let applied = host.applied();
            host = Host::new(OWNER, Generation(1));
            ledger = Typed::new();
            is_registered = rng.chance(1, 2);
            if is_registered {
                host.register("ledger", Box::new(ledger.clone())).unwrap();
            }
            host.restore(&state).unwrap();
            assert_eq!(host.serialise().unwrap(), state);
            let rest: Vec<Run> = cut.iter().filter(|run| run.last() > applied).cloned().collect();
            waiting_to_come = rest.into_iter().peekable();
        }
    }
    if !is_registered {
        host.register("ledger", Box::new(ledger.clone())).unwrap();
    }
    (host.serialise().unwrap(), applied_ids(&ledger), all)
}

proptest! {
    #[test]
    fn replicas_are_equal_and_every_number_applies_at_most_once(seed in any::<u64>()) {
        let mut rng = Random::new(seed);
        let (log, _) = random_log(&mut rng, 40);
        let (state, ids, all) = random_replica(&mut rng, &log.runs);
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), ids.len(), "a number was applied twice");
        for _ in 0..3 {
            let (other, other_ids, _) = random_replica(&mut rng, &log.runs);
            prop_assert_eq!(&other, &state);
            prop_assert_eq!(&other_ids, &ids);
        }
        // A command has one reply, whichever of its copies brings it.
        let mut replies = std::collections::BTreeMap::new();
        for (id, index, outcome) in all.iter().flat_map(|applied| &applied.outcomes) {
            if let CommandOutcome::Applied(reply) = outcome {
                let first = replies.entry(*id).or_insert((*index, reply.clone()));
                prop_assert_eq!(&*first, &(*index, reply.clone()));
            }
        }
    }
}
