//! What must hold after every input. Checked in tests and in the simulator.

use std::collections::BTreeSet;

use super::{MemberState, Swim};
use crate::NodeId;

impl Swim {
    /// The first breach of an invariant, in words. Costs a walk over the table.
    pub fn check(&self) -> Result<(), String> {
        self.table.check()?;
        self.queue.check()?;
        let present: BTreeSet<NodeId> =
            self.table.iter().filter(|(_, entry)| entry.is_present()).map(|(id, _)| id).collect();
        let order: BTreeSet<NodeId> = self.probe.order.members().iter().copied().collect();
        if present != order || order.len() != self.probe.order.members().len() {
            return Err(format!("{present:?} take part, {:?} are probed", self.probe.order.members()));
        }
        if self.table.get(self.own.id).is_some() {
            return Err("this node stands in its own table".into());
        }
        if !matches!(self.own.key.rank, MemberState::Alive | MemberState::Left) {
            return Err(format!("this node takes itself for {:?}", self.own.key.rank));
        }
        if self.table.len() + 1 > self.options.members_max {
            return Err(format!("{} members are remembered", self.table.len() + 1));
        }
        if self.own.record.generation != self.own.key.generation {
            return Err("the own record and the own key are of two process starts".into());
        }
        Ok(())
    }
}
