//! The state machine host: from a snapshot's bytes, and fed with committed runs.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slimcluster_core::machine::{
    Applied, ApplyContext, Budget, CODEC_POSTCARD, Codec as _, CommandOutcome, Host, MachineEntry, Postcard,
    SessionEntry, StateMachine, Typed, Waiting,
};
use slimcluster_core::{
    Block, CommandId, Generation, GroupId, Index, LogTime, MachineId, NodeId, Run, RunHeader, RunKind, SessionId, Term,
    WallTime,
};

use crate::allocations;
use crate::draw::Draw;

/// The process whose session the hosts take for their own.
const OWNER: (NodeId, Generation) = (NodeId(1), Generation(1));
/// The machine that is registered; commands for others wait.
const MACHINE: &str = "ledger";
/// Enough for one step.
const WHOLE: Budget = Budget { entries_max: usize::MAX, bytes_max: usize::MAX };
/// Runs of one input.
const RUNS_MAX: usize = 64;

/// Notes what is applied to it; by this it knows when a command comes twice.
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    lines: Vec<Vec<u8>>,
    times_applied: BTreeMap<(u64, u64), u32>,
}

impl StateMachine for Ledger {
    type Command = Vec<u8>;
    type Reply = (u64, Vec<u8>);

    fn apply(&mut self, cx: &ApplyContext, command: Vec<u8>) -> (u64, Vec<u8>) {
        let id = cx.command();
        *self.times_applied.entry((id.session.0, id.number)).or_default() += 1;
        self.lines.push(command.clone());
        (cx.index().0, command)
    }
}

/// The host's state from a snapshot, which may be anything.
pub fn restore(bytes: &[u8]) {
    let (mut host, _) = host();
    // Protobuf lists of empty messages take two bytes each; the maps and vectors that hold them take more.
    let held_max = 8_192 + 256 * bytes.len();
    if allocations::within(held_max, "restoring a host", || host.restore(bytes)).is_err() {
        return;
    }
    let serialised = host.serialise().expect("what was restored can be written");
    let (mut other, _) = self::host();
    other.restore(&serialised).expect("own bytes are read");
    assert_eq!(other.serialise().as_ref(), Ok(&serialised), "a snapshot of a snapshot");
    assert_eq!(other.applied(), host.applied());

    // It goes on from there, and both go the same way.
    let open = SessionEntry::Open { node: OWNER.0, generation: OWNER.1 };
    let mut log = Log { next: host.applied().next(), term: Term(1), chain: 0 };
    let runs = vec![log.single(RunKind::Noop, Bytes::new()), log.single(RunKind::Session, open.encode())];
    for host in [&mut host, &mut other] {
        host.apply(runs.clone());
        while host.step(WHOLE).is_some() {}
        assert_eq!(host.applied(), runs[1].last());
    }
    assert_eq!(host.serialise(), other.serialise());
}

/// Committed runs of every kind. How they are cut, repeated and worked off, and a restart from a snapshot on the way, must change nothing.
pub fn apply(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let runs = Log { next: Index(2), term: Term(1), chain: 7 }.draw(&mut draw);
    let (mut whole, whole_ledger) = host();
    whole.apply(runs.clone());
    let (outcomes, waiting) = work_off(&mut whole, WHOLE, usize::MAX);

    let (mut pieces, mut pieces_ledger) = host();
    let (mut piece_outcomes, mut piece_waiting, mut is_restored) = (Outcomes::new(), None, false);
    for run in &runs {
        let cut = Index(run.first().0 + draw.u8() as u64 % run.count());
        let again = if draw.one_in(4) { run.first() } else { cut.next() };
        pieces.apply(run.slice(run.first(), cut).into_iter().chain(run.slice(again, run.last())).collect());
        if draw.one_in(4) {
            let budget = Budget { entries_max: draw.below(4), bytes_max: draw.below(64) };
            let (new, waiting) = work_off(&mut pieces, budget, draw.below(16));
            piece_outcomes.extend(new);
            piece_waiting = waiting.or(piece_waiting);
        }
        if draw.one_in(8) {
            // A new process starts from its own snapshot, or a running one gets that of a replica which is ahead.
            let is_restart = draw.bool();
            let snapshot = if is_restart { pieces.serialise().ok() } else { ahead_of(&pieces, &runs, draw.u8()) };
            let Some(snapshot) = snapshot else { continue };
            if is_restart {
                (pieces, pieces_ledger) = host();
            }
            pieces.restore(&snapshot).expect("own bytes are read");
            pieces.apply(runs.iter().filter(|other| other.last() <= run.last()).cloned().collect());
            is_restored = true;
        }
    }
    let (new, waiting_at_end) = work_off(&mut pieces, WHOLE, usize::MAX);
    piece_outcomes.extend(new);
    piece_waiting = waiting_at_end.or(piece_waiting);

    assert_eq!(pieces.applied(), whole.applied());
    assert_eq!(piece_waiting, waiting);
    // What a snapshot covers is not told again, nor is the late command of a session that was closed before.
    assert!(piece_outcomes.iter().all(|(at, outcome)| outcomes.get(at) == Some(outcome)), "{piece_outcomes:?}");
    assert!(is_restored || piece_outcomes == outcomes, "{piece_outcomes:?} are not {outcomes:?}");
    assert_eq!(pieces.serialise(), whole.serialise());
    for ledger in [whole_ledger, pieces_ledger] {
        let doubled =
            ledger.read(|ledger| ledger.times_applied.iter().find(|(_, times)| **times > 1).map(|(id, _)| *id));
        assert_eq!(doubled, Ok(None), "a command was applied twice");
    }
}

/// The snapshot of a replica that has applied some more entries than `host`; none if it cannot.
fn ahead_of(host: &Host, runs: &[Run], entries: u8) -> Option<Bytes> {
    let (mut ahead, _) = self::host();
    ahead.apply(runs.to_vec());
    let entries_max = host.applied().0.saturating_sub(1) as usize + usize::from(entries);
    ahead.step(Budget { entries_max, bytes_max: usize::MAX });
    if ahead.applied() < host.applied() { None } else { ahead.serialise().ok() }
}

fn host() -> (Host, Typed<Ledger>) {
    let mut host = Host::new(OWNER.0, OWNER.1);
    let ledger = Typed::<Ledger>::new();
    host.register(MACHINE, Box::new(ledger.clone())).expect("the first of its name");
    (host, ledger)
}

type Outcomes = BTreeMap<(Index, CommandId), CommandOutcome>;

/// Steps until there is nothing new, or so often.
fn work_off(host: &mut Host, budget: Budget, steps_max: usize) -> (Outcomes, Option<Waiting>) {
    let (mut outcomes, mut waiting) = (Outcomes::new(), None);
    let mut through = host.applied();
    for _ in 0..steps_max {
        let Some(Applied { through: now, outcomes: new, waiting: why, .. }) = host.step(budget) else { break };
        assert!(now >= through);
        through = now;
        outcomes.extend(new.into_iter().map(|(id, index, outcome)| ((index, id), outcome)));
        waiting = why;
    }
    (outcomes, waiting)
}

/// Where a made-up log stands.
struct Log {
    next: Index,
    term: Term,
    chain: u64,
}

impl Log {
    /// Runs as the input has it, one behind the other.
    fn draw(mut self, draw: &mut Draw<'_>) -> Vec<Run> {
        let mut runs = Vec::new();
        while !draw.is_empty() && runs.len() < RUNS_MAX {
            let node = |draw: &mut Draw<'_>| NodeId(u128::from(draw.u8() % 3));
            let run = match draw.u8() % 16 {
                0 => self.single(RunKind::Noop, Bytes::new()),
                1 => self.single(RunKind::Configuration, Bytes::copy_from_slice(draw.short_piece())),
                2 | 3 => {
                    let entry = SessionEntry::Open { node: node(draw), generation: Generation(draw.edgy() >> 17) };
                    self.single(RunKind::Session, entry.encode())
                }
                4 => {
                    let entry = SessionEntry::Close { session: SessionId(draw.edgy()) };
                    self.single(RunKind::Session, entry.encode())
                }
                5 => self.single(RunKind::Session, Bytes::copy_from_slice(draw.short_piece())),
                6 | 7 => {
                    let name = if draw.one_in(8) { "another" } else { MACHINE };
                    self.single(RunKind::Machine, MachineEntry { name: name.to_owned() }.encode())
                }
                8 => self.single(RunKind::Machine, Bytes::copy_from_slice(draw.short_piece())),
                9 => {
                    self.term = self.term.next();
                    self.single(RunKind::Noop, Bytes::new())
                }
                _ => self.commands(draw),
            };
            runs.push(run);
        }
        runs
    }

    fn commands(&mut self, draw: &mut Draw<'_>) -> Run {
        let header = RunHeader {
            codec: if draw.one_in(16) { draw.u8() } else { CODEC_POSTCARD },
            command_version: u32::from(draw.one_in(32)) + 1,
            machine: MachineId(draw.edgy()),
            ..self.header(RunKind::Command)
        };
        let (mut blocks, mut commands) = (Vec::new(), Vec::new());
        for _ in 0..=draw.below(3) {
            let session = SessionId(draw.edgy());
            let count = 1 + u32::from(draw.u8() % 4);
            let first_number = draw.edgy().min(u64::MAX - u64::from(count));
            blocks.push(Block { session, first_number, count, acked_below: draw.edgy() });
            for _ in 0..count {
                let text = draw.short_piece().to_vec();
                let is_raw = draw.one_in(32);
                let command = Postcard.encode(&text).map_or_else(|_| text.clone(), |bytes| bytes.to_vec());
                commands.push(if is_raw { text } else { command });
            }
        }
        let run = Run::commands(header, blocks, commands.iter().map(|command| &command[..]));
        self.pushed(run.expect("blocks and commands agree"))
    }

    fn single(&mut self, kind: RunKind, payload: Bytes) -> Run {
        let run = Run::single(self.header(kind), payload);
        self.pushed(run)
    }

    fn pushed(&mut self, run: Run) -> Run {
        (self.next, self.chain) = (run.last().next(), run.chain_end());
        run
    }

    fn header(&self, kind: RunKind) -> RunHeader {
        RunHeader {
            group: GroupId::DEFAULT,
            kind,
            codec: 0,
            command_version: 0,
            term: self.term,
            first: self.next,
            machine: MachineId(0),
            log_time: LogTime(self.next.0),
            wall_time: WallTime(0),
            chain: self.chain,
        }
    }
}

/// A snapshot with a session, a machine and some replies, for the first input of [`restore`].
pub(crate) fn sample_snapshot() -> Bytes {
    let (mut host, _) = host();
    let mut log = Log { next: Index(2), term: Term(1), chain: 7 };
    let open = SessionEntry::Open { node: OWNER.0, generation: OWNER.1 };
    let mut runs = vec![
        log.single(RunKind::Session, open.encode()),
        log.single(RunKind::Machine, MachineEntry { name: MACHINE.to_owned() }.encode()),
    ];
    let command = Postcard.encode(&b"one".to_vec()).unwrap_or_default();
    let header =
        RunHeader { codec: CODEC_POSTCARD, command_version: 1, machine: MachineId(3), ..log.header(RunKind::Command) };
    let block = Block { session: SessionId(2), first_number: 1, count: 2, acked_below: 1 };
    runs.extend(Run::commands(header, vec![block], [&command[..], &command[..]]));
    host.apply(runs);
    work_off(&mut host, WHOLE, usize::MAX);
    host.serialise().unwrap_or_default()
}

/// A session, a machine and commands of it, in the form that [`apply`] draws from.
pub(crate) fn sample_runs() -> Vec<u8> {
    let mut bytes = vec![2, 1, 2, 6, 1];
    for number in 1..4 {
        // Commands: codec 1 in postcard, version 1, machine 3; one block of session 2; one command, then its text.
        bytes.extend([10, 1, 1, 3, 0, 2, 0, number, 1, 3, b'a', b'b', b'c', 1]);
    }
    bytes
}
