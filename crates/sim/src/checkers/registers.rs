//! Linearizability by append registers (R9, X1, X3, R5): constant work per operation, no search.
//!
//! All replicas apply one order, and each is compared with it entry by entry. A write has its place in that order; a read saw a
//! prefix of its register. So real time is all that is left to judge: whatever finished before an operation began sets a floor
//! that the operation's place must not lie below.

use std::collections::{BTreeMap, BTreeSet};

use super::{Verdict, Violation};
use crate::registers::Appended;

/// What is known of one append.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    position: Option<u64>,
    acknowledged: bool,
    refused: bool,
}

/// The order, and what clients were told.
#[derive(Debug, Default)]
pub struct RegisterHistory {
    order: Vec<Appended>,
    lengths: BTreeMap<u64, u64>,
    /// By the number of the append; numbers are given out from 0 on.
    appends: Vec<Known>,
    /// What every operation on a register that begins now must see.
    floors: BTreeMap<u64, u64>,
    acknowledged: BTreeSet<u64>,
}

impl RegisterHistory {
    /// A client begins an append; returns its number.
    pub fn begin_append(&mut self) -> u64 {
        self.appends.push(Known::default());
        self.appends.len() as u64 - 1
    }

    /// What an operation on `key` that begins now must see.
    pub fn floor(&self, key: u64) -> u64 {
        self.floors.get(&key).copied().unwrap_or_default()
    }

    /// A replica that had applied `applied` appends has applied `new` ones.
    pub fn on_applied(&mut self, applied: usize, new: &[Appended]) -> Verdict {
        for (at, appended) in (applied..).zip(new) {
            match self.order.get(at) {
                Some(first) if first == appended => {}
                Some(first) => {
                    let detail = format!("append {at} is {appended:?} here and {first:?} elsewhere");
                    return Err(Violation::of("equal replicas", detail));
                }
                None => self.on_first(*appended)?,
            }
        }
        Ok(())
    }

    fn on_first(&mut self, appended: Appended) -> Verdict {
        let Appended { key, id } = appended;
        let Some(known) = usize::try_from(id).ok().and_then(|id| self.appends.get_mut(id)) else {
            return Err(Violation::of("no phantom", format!("append {id} was applied, nobody submitted it")));
        };
        if known.position.is_some() {
            return Err(Violation::of("exactly once", format!("append {id} was applied twice")));
        }
        if known.refused {
            return Err(Violation::of("not committed", format!("append {id} was applied after it was refused")));
        }
        let length = self.lengths.entry(key).or_default();
        known.position = Some(*length);
        *length += 1;
        self.order.push(appended);
        Ok(())
    }

    /// Append `id` to `key` ended with the place `position`; the floor was `floor` when it began.
    pub fn on_appended(&mut self, key: u64, id: u64, floor: u64, position: u64) -> Verdict {
        let known = self.known(id)?;
        if known.position != Some(position) {
            let detail = format!("append {id} was answered with {position}, its place is {:?}", known.position);
            return Err(Violation::of("true replies", detail));
        }
        if position < floor {
            let detail = format!("append {id} began after the register had {floor} entries and got place {position}");
            return Err(Violation::of("linearizability", detail));
        }
        known.acknowledged = true;
        self.acknowledged.insert(id);
        self.raise_floor(key, position + 1);
        Ok(())
    }

    /// Append `id` ended as certainly not applied, now or later.
    pub fn on_refused(&mut self, id: u64) -> Verdict {
        let known = self.known(id)?;
        if let Some(position) = known.position {
            let detail = format!("append {id} was refused although it was applied at {position}");
            return Err(Violation::of("not committed", detail));
        }
        known.refused = true;
        Ok(())
    }

    /// A read of `key` saw `length` entries; the floor was `floor` when it began.
    pub fn on_read(&mut self, key: u64, floor: u64, length: u64) -> Verdict {
        if length < floor {
            let detail = format!("a read of register {key} saw {length} entries, {floor} were there before it began");
            return Err(Violation::of("linearizability", detail));
        }
        self.raise_floor(key, length);
        Ok(())
    }

    /// A replica that has applied `applied` appends is asked to hold everything that was acknowledged.
    pub fn audit(&self, applied: usize) -> Verdict {
        let held: BTreeSet<u64> = self.order.iter().take(applied).map(|appended| appended.id).collect();
        match self.acknowledged.difference(&held).next() {
            Some(id) => Err(Violation::of("durability", format!("append {id} was acknowledged and is not there"))),
            None => Ok(()),
        }
    }

    /// The appends to `key` in the order in which they were applied.
    pub fn order(&self, key: u64) -> impl Iterator<Item = u64> + '_ {
        self.order.iter().filter(move |appended| appended.key == key).map(|appended| appended.id)
    }

    /// How many appends were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// How many appends any replica has applied.
    pub fn applied(&self) -> usize {
        self.order.len()
    }

    fn known(&mut self, id: u64) -> Result<&mut Known, Violation> {
        let known = usize::try_from(id).ok().and_then(|id| self.appends.get_mut(id));
        known.ok_or_else(|| Violation::of("no phantom", format!("append {id} ended, nobody began it")))
    }

    fn raise_floor(&mut self, key: u64, to: u64) {
        let floor = self.floors.entry(key).or_default();
        *floor = (*floor).max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(appends: u64) -> RegisterHistory {
        let mut history = RegisterHistory::default();
        for _ in 0..appends {
            history.begin_append();
        }
        history
    }

    const fn append(id: u64) -> Appended {
        Appended { key: 0, id }
    }

    #[test]
    fn a_good_history_passes() {
        let mut history = history(2);
        history.on_applied(0, &[append(1), append(0)]).unwrap();
        history.on_applied(0, &[append(1)]).unwrap();
        history.on_appended(0, 1, 0, 0).unwrap();
        assert_eq!(history.floor(0), 1);
        history.on_read(0, 1, 2).unwrap();
        history.on_appended(0, 0, 0, 1).unwrap();
        history.audit(2).unwrap();
    }

    #[test]
    fn every_lie_is_found() {
        let mut found = Vec::new();
        let mut find = |verdict: Verdict| found.push(verdict.unwrap_err().property);
        let mut h = history(3);
        h.on_applied(0, &[append(0), append(1)]).unwrap();
        find(h.on_applied(0, &[append(1)]));
        find(h.on_applied(2, &[append(1)]));
        find(h.on_applied(2, &[append(9)]));
        find(h.on_refused(0));
        h.on_refused(2).unwrap();
        find(h.on_applied(2, &[append(2)]));
        find(h.on_appended(0, 0, 0, 1));
        find(h.on_appended(0, 0, 1, 0));
        h.on_appended(0, 1, 0, 1).unwrap();
        find(h.on_read(0, h.floor(0), 1));
        find(h.audit(1));
        let expected = [
            "equal replicas",
            "exactly once",
            "no phantom",
            "not committed",
            "not committed",
            "true replies",
            "linearizability",
            "linearizability",
            "durability",
        ];
        assert_eq!(found, expected);
    }
}
