//! The directory: names as processes see them, as a power loss leaves them, and the changes between.

use std::collections::BTreeMap;
use std::io;

use slimcluster_core::random::Random;

use super::hardware::{FileId, MILLION};
use super::mounted::not_found;

/// Names of files.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// As processes see them.
    now: BTreeMap<String, FileId>,
    /// As a power loss leaves them.
    durable: BTreeMap<String, FileId>,
    /// Changes that are not on the medium, oldest first.
    pending: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(String, FileId),
    Rename(String, String, FileId),
    Remove(String),
}

impl Names {
    pub fn list(&self) -> Vec<String> {
        self.now.keys().cloned().collect()
    }

    pub fn find(&self, name: &str) -> Option<FileId> {
        self.now.get(name).copied()
    }

    /// The files that have a name.
    pub fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.now.values().copied()
    }

    /// The names that a power loss would leave, if nothing pending made it.
    pub fn durable(&self) -> Names {
        Names { now: self.durable.clone(), durable: self.durable.clone(), pending: Vec::new() }
    }

    /// The same names, with their files.
    pub fn durable_list(&self) -> impl Iterator<Item = (String, FileId)> + '_ {
        self.durable.iter().map(|(name, id)| (name.clone(), *id))
    }

    pub fn add(&mut self, name: &str, id: FileId) {
        self.now.insert(name.to_owned(), id);
        self.pending.push(NameChange::Add(name.to_owned(), id));
    }

    pub fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let id = self.now.remove(from).ok_or_else(|| not_found(from))?;
        self.now.insert(to.to_owned(), id);
        self.pending.push(NameChange::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    pub fn remove(&mut self, name: &str) -> io::Result<()> {
        self.now.remove(name).ok_or_else(|| not_found(name))?;
        self.pending.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    pub fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    /// Each pending change made it, or not.
    pub fn lose_power(&mut self, rng: &mut Random, kept: u64) {
        for change in std::mem::take(&mut self.pending) {
            if rng.chance(kept, MILLION) {
                change.apply(&mut self.durable);
            }
        }
        self.now = self.durable.clone();
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, FileId>) {
        match self {
            NameChange::Add(name, id) => {
                names.insert(name, id);
            }
            NameChange::Rename(from, to, id) => {
                names.remove(&from);
                names.insert(to, id);
            }
            NameChange::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}
