//! The host of a group: works off committed runs, each command at most once, in slices.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use super::entry::{MachineEntry, SessionEntry};
use super::outcome::{Applied, CommandOutcome, Waiting};
use super::session::{Known, Sessions};
use super::state_machine::ApplyContext;
use super::typed::{Command, Machine, MachineError};
use super::{record, record::HostState};
use crate::mutants::mutant;
use crate::run::{Cursor, EntryRef};
use crate::{CommandId, Generation, Index, MachineId, NodeId, Run, RunHeader, RunKind, SessionId};

/// How much one step may do. At least one entry is applied where one can be.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Stop after this many entries.
    pub entries_max: usize,
    /// Stop before the entry that would bring the commands' bytes above this.
    pub bytes_max: usize,
}

/// Applies the log of one group to its machines.
pub struct Host {
    owner: NodeId,
    generation: Generation,
    /// The session that this process start opened last; kept when it is closed, so that late commands of it are answered.
    own_session: Option<SessionId>,
    registered: BTreeMap<String, Arc<dyn Machine>>,
    replicated: Replicated,
    /// States from a snapshot whose machines are not registered yet.
    unclaimed: BTreeMap<String, Bytes>,
    // Bounded by the node, which hands over no more than its byte bound beyond what was reported applied.
    queue: VecDeque<Run>,
    /// How far the first run of the queue is applied.
    cursor: Cursor,
    queued_through: Index,
    waiting: Option<Waiting>,
    halted: Option<String>,
}

/// What every replica holds alike after the same entries, the machines' own states aside.
#[derive(Debug, Default)]
pub(super) struct Replicated {
    pub(super) applied: Index,
    pub(super) sessions: Sessions,
    pub(super) machines: BTreeMap<MachineId, Named>,
}

/// A machine as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// A command was applied to it. Until then its state is the default, whether the application has registered it or not.
    pub(super) touched: bool,
}

impl Host {
    /// A host before the first entry, for the node and process start whose session is its own.
    pub fn new(owner: NodeId, generation: Generation) -> Self {
        Host {
            owner,
            generation,
            own_session: None,
            registered: BTreeMap::new(),
            replicated: Replicated::default(),
            unclaimed: BTreeMap::new(),
            queue: VecDeque::new(),
            cursor: Cursor::default(),
            queued_through: Index(0),
            waiting: None,
            halted: None,
        }
    }

    /// The node took a new id before a cluster was formed (rule 24): sessions of that id are its own from now on.
    pub fn change_owner(&mut self, owner: NodeId, generation: Generation) {
        (self.owner, self.generation) = (owner, generation);
        self.own_session = self.replicated.sessions.of(owner, generation);
    }

    /// Registers a machine under its name: commands for it can be applied from now on, and its state from a snapshot is restored.
    ///
    /// On an error it is not registered; a state that cannot be restored halts apply too.
    pub fn register(&mut self, name: impl Into<String>, machine: Box<dyn Machine>) -> Result<(), MachineError> {
        let name = name.into();
        if self.registered.contains_key(&name) {
            return Err(MachineError::AlreadyRegistered(name));
        }
        if let Some(state) = self.unclaimed.get(&name) {
            if let Err(error) = guarded(|| machine.restore(Some(state))) {
                self.halted = Some(format!("the state of {name:?} cannot be restored: {error}"));
                return Err(error);
            }
            self.unclaimed.remove(&name);
        }
        self.registered.insert(name, Arc::from(machine));
        Ok(())
    }

    /// Queues committed runs, which follow each other without a gap. Entries that were applied or queued before are skipped.
    pub fn apply(&mut self, runs: Vec<Run>) {
        for run in runs {
            // Entry 1 is the founding configuration of a group (rule 23), which no log holds and nobody applies.
            let begins = self.queued_through == Index(0) && run.first() == Index(2);
            if !begins && run.first() > self.queued_through.next() {
                let reason = format!("entries are missing between {} and {}", self.queued_through, run.first());
                self.halted.get_or_insert(reason);
                return;
            }
            if run.last() > self.queued_through {
                self.queued_through = run.last();
                self.queue.push_back(run);
            }
        }
    }

    /// Applies the next slice. None when there is nothing new to say: all is applied, or apply still stands where it was said to.
    pub fn step(&mut self, budget: Budget) -> Option<Applied> {
        let before = self.replicated.applied;
        let mut applied = Applied::default();
        let waiting = self.work_off(budget, &mut applied).err();
        if self.replicated.applied == before && self.waiting == waiting {
            return None;
        }
        self.waiting.clone_from(&waiting);
        applied.through = self.replicated.applied;
        applied.waiting = waiting;
        Some(applied)
    }

    /// Everything up to here has been applied.
    pub fn applied(&self) -> Index {
        self.replicated.applied
    }

    /// Whether every registered machine may be applied on the node's own thread (rule 40).
    pub fn is_inline(&self) -> bool {
        !self.registered.is_empty() && self.registered.values().all(|machine| machine.inline())
    }

    /// The replicated state up to `applied`: equal bytes on every replica that has applied the same log.
    pub fn serialise(&self) -> Result<Bytes, MachineError> {
        if let Some(reason) = &self.halted {
            // A machine that panicked may be half changed; such a state must not travel.
            return Err(MachineError::Panicked(reason.clone()));
        }
        let mut states = BTreeMap::new();
        for (id, named) in &self.replicated.machines {
            let state = match (self.unclaimed.get(&named.name), self.registered.get(&named.name)) {
                (Some(state), _) => state.clone(),
                (None, Some(machine)) if named.touched => guarded(|| machine.snapshot())?,
                _ => continue,
            };
            states.insert(*id, state);
        }
        Ok(record::encode(&self.replicated, &states))
    }

    /// Replaces the replicated state by a serialised one; queued entries that it covers are dropped.
    ///
    /// On an error nothing was replaced if the bytes are malformed; if a machine refused its part, apply is halted.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        let HostState { replicated, states } = record::decode(bytes)?;
        let applied = replicated.applied;
        self.unclaimed.clear();
        (self.halted, self.waiting) = (None, None);
        for (id, named) in &replicated.machines {
            let state = states.get(id);
            match (self.registered.get(&named.name), state) {
                (Some(machine), state) => {
                    if let Err(error) = guarded(|| machine.restore(state.map(|state| &state[..]))) {
                        self.halted = Some(format!("the state of {:?} cannot be restored: {error}", named.name));
                        return Err(error);
                    }
                }
                (None, Some(state)) => {
                    self.unclaimed.insert(named.name.clone(), state.clone());
                }
                (None, None) => {}
            }
        }
        self.replicated = replicated;
        if let Some(session) = self.replicated.sessions.of(self.owner, self.generation) {
            self.own_session = Some(session);
        }
        while self.queue.front().is_some_and(|run| run.last() <= applied) {
            self.queue.pop_front();
        }
        self.cursor = Cursor::default();
        self.queued_through = self.queue.back().map_or(applied, Run::last);
        Ok(())
    }

    fn work_off(&mut self, budget: Budget, applied: &mut Applied) -> Result<(), Waiting> {
        if let Some(reason) = &self.halted {
            return Err(Waiting::Halted(reason.clone()));
        }
        let (mut entries, mut bytes) = (0, 0);
        while let Some(run) = self.queue.front().cloned() {
            let machine = (run.kind() == RunKind::Command).then(|| self.machine_of(run.header())).transpose()?;
            let mut rest = run.entries_from(self.cursor);
            while let Some(entry) = rest.next() {
                if entry.index > self.replicated.applied {
                    bytes += entry.payload.len();
                    if entries > 0 && (entries >= budget.entries_max || bytes > budget.bytes_max) {
                        return Ok(());
                    }
                    entries += 1;
                    match (&machine, run.kind()) {
                        (Some(machine), _) => self.on_command(machine, run.header(), &entry, applied)?,
                        (None, RunKind::Session) => self.on_session(&entry, applied)?,
                        (None, RunKind::Machine) => self.on_machine(&entry, applied)?,
                        (None, _) => {}
                    }
                    self.replicated.applied = entry.index;
                }
                self.cursor = rest.cursor();
            }
            self.queue.pop_front();
            self.cursor = Cursor::default();
        }
        Ok(())
    }

    /// The machine that the run's commands are for, with its name.
    fn machine_of(&mut self, header: &RunHeader) -> Result<(String, Arc<dyn Machine>), Waiting> {
        let Some(named) = self.replicated.machines.get(&header.machine) else {
            return Err(self.halt(header.first, format!("the log names no machine {}", header.machine)));
        };
        match self.registered.get(&named.name) {
            Some(machine) => Ok((named.name.clone(), Arc::clone(machine))),
            None => Err(Waiting::Unregistered(named.name.clone())),
        }
    }

    fn on_command(
        &mut self,
        (name, machine): &(String, Arc<dyn Machine>),
        header: &RunHeader,
        entry: &EntryRef,
        applied: &mut Applied,
    ) -> Result<(), Waiting> {
        let Some(command) = entry.command else {
            return Err(self.halt(entry.index, "a command without a session".to_owned()));
        };
        let (index, outcome) = match self.look_up(command, entry.acked_below) {
            Known::Settled(index, outcome) => {
                self.replicated.sessions.acknowledge(command.session, entry.acked_below);
                (index.unwrap_or(entry.index), outcome)
            }
            Known::New => {
                let cx = ApplyContext {
                    index: entry.index,
                    term: header.term,
                    log_time: header.log_time,
                    wall_time: header.wall_time,
                    machine: header.machine,
                    command,
                    command_version: header.command_version,
                    draws: Default::default(),
                };
                let bytes = Command { codec: header.codec, version: header.command_version, bytes: &entry.payload };
                let reply = match guarded(|| machine.apply(&cx, bytes)) {
                    Ok(reply) => reply,
                    Err(error) => return Err(self.halt(entry.index, format!("machine {name:?}: {error}"))),
                };
                if let Some(named) = self.replicated.machines.get_mut(&header.machine) {
                    named.touched = true;
                }
                self.replicated.sessions.record(command, entry.acked_below, entry.index, reply.clone());
                (entry.index, CommandOutcome::Applied(reply))
            }
        };
        if self.own_session == Some(command.session) {
            applied.outcomes.push((command, index, outcome));
        }
        Ok(())
    }

    fn look_up(&self, command: CommandId, acked_below: u64) -> Known {
        let known = self.replicated.sessions.look_up(command, acked_below);
        let is_unknown = matches!(known, Known::Settled(_, CommandOutcome::UnknownSession));
        if mutant!(SessionDedupSkipped) && !is_unknown { Known::New } else { known }
    }

    fn on_session(&mut self, entry: &EntryRef, applied: &mut Applied) -> Result<(), Waiting> {
        match SessionEntry::decode(&entry.payload) {
            Ok(SessionEntry::Open { node, generation }) => {
                let opened = self.replicated.sessions.open(entry.index, node, generation);
                if opened.is_some() && (node, generation) == (self.owner, self.generation) {
                    self.own_session = opened;
                    applied.session = opened;
                }
            }
            Ok(SessionEntry::Close { session }) => self.replicated.sessions.close(session),
            Err(error) => return Err(self.halt(entry.index, error.to_string())),
        }
        Ok(())
    }

    fn on_machine(&mut self, entry: &EntryRef, applied: &mut Applied) -> Result<(), Waiting> {
        let name = match MachineEntry::decode(&entry.payload) {
            Ok(MachineEntry { name }) => name,
            Err(error) => return Err(self.halt(entry.index, error.to_string())),
        };
        let known = self.replicated.machines.iter().find(|(_, named)| named.name == name).map(|(id, _)| *id);
        let id = known.unwrap_or(MachineId(entry.index.0));
        if known.is_none() {
            self.replicated.machines.insert(id, Named { name: name.clone(), touched: false });
        }
        // Said again for a name that has its id: whoever proposed it a second time waits for the answer.
        applied.machines.push((name, id));
        Ok(())
    }

    fn halt(&mut self, index: Index, reason: String) -> Waiting {
        let reason = format!("entry {index} cannot be applied: {reason}");
        Waiting::Halted(self.halted.insert(reason).clone())
    }
}

/// Runs the user's code. The one place where a panic is caught (rule 12).
fn guarded<T>(user_code: impl FnOnce() -> Result<T, MachineError>) -> Result<T, MachineError> {
    // A state that a panic left half changed stays behind a poisoned lock, which nobody reads any more.
    catch_unwind(AssertUnwindSafe(user_code)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(MachineError::Panicked(text.unwrap_or_else(|| "without a message".to_owned())))
    })
}
