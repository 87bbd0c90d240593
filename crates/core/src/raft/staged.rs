//! Commands that were accepted in one step become one run: the batch forms from what arrived together, there is no timer.

use bytes::Bytes;

use super::io::{Fatal, Proposal};
use crate::{Block, Run, RunHeader, RunKind};

/// A run under construction. Its entries have their ids; their bytes come together when it is appended.
#[derive(Debug)]
pub(super) struct Staged {
    header: RunHeader,
    blocks: Vec<Block>,
    commands: Vec<Bytes>,
    bytes: usize,
}

impl Staged {
    /// From a proposal that was checked.
    pub(super) fn new(header: RunHeader, proposal: Proposal) -> Self {
        let mut staged = Staged { header, blocks: Vec::new(), commands: Vec::new(), bytes: 0 };
        staged.extend(proposal);
        staged
    }

    /// Adds a proposal that [`Staged::takes`]. The run keeps the stamps of its first.
    pub(super) fn extend(&mut self, proposal: Proposal) {
        self.bytes += bytes_of(&proposal.commands);
        self.commands.extend(proposal.commands);
        for block in proposal.blocks {
            match self.blocks.last_mut() {
                Some(last) if continues(last, &block) => last.count += block.count,
                _ => self.blocks.push(block),
            }
        }
    }

    /// Whether the proposal's commands may join: a run ends where machine, codec or version changes (rule 36), and where it has
    /// become as large as a message.
    pub(super) fn takes(&self, proposal: &Proposal, bytes_max: usize) -> bool {
        let header = &self.header;
        header.kind == RunKind::Command
            && proposal.kind == RunKind::Command
            && header.machine == proposal.machine
            && header.codec == proposal.codec
            && header.command_version == proposal.command_version
            && self.bytes + bytes_of(&proposal.commands) <= bytes_max
    }

    /// How many entries.
    pub(super) fn count(&self) -> u64 {
        self.commands.len() as u64
    }

    /// The bytes of the commands.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The run, which continues a log whose hash stands at `chain`.
    pub(super) fn into_run(self, chain: u64) -> Result<Run, Fatal> {
        let header = RunHeader { chain, ..self.header };
        if header.kind != RunKind::Command {
            return Ok(Run::single(header, self.commands.into_iter().next().unwrap_or_default()));
        }
        Run::commands(header, self.blocks, self.commands.iter().map(Bytes::as_ref))
            .map_err(|error| Fatal::new(format!("a checked proposal is no run: {error}")))
    }
}

fn bytes_of(commands: &[Bytes]) -> usize {
    commands.iter().map(Bytes::len).sum()
}

fn continues(last: &Block, next: &Block) -> bool {
    last.session == next.session
        && last.acked_below == next.acked_below
        && last.first_number.checked_add(u64::from(last.count)) == Some(next.first_number)
        && last.count.checked_add(next.count).is_some()
}
