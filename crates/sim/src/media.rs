//! What the media hold, read by opening a copy of them: the shadow that [`crate::checkers::storage`] keeps trusts the store's word,
//! this does not. Opening costs a hundred times more, so only some acknowledgements are checked this way.

use slimcluster_core::situations::uncounted;
use slimcluster_core::types::StoreId;
use slimcluster_core::{GroupId, Index, NodeId};
use slimcluster_wal::{FreshIds, Wal};

use crate::checkers::{Verdict, Violation};
use crate::lifecycle::CLUSTER_ID;
use crate::world::World;

/// At least so many acknowledgements lie between two that are checked on the media.
const APART: u64 = 32;
/// And a share of those before, one in so many: a check reads the whole log, and the longer the log the fewer are worth it.
const APART_SHARE: u64 = 4;

impl World {
    /// An entry is acknowledged: had every machine lost power at this moment, a majority would still hold it.
    pub(crate) fn check_media(&mut self, index: Index, chain: u64, voters: &[NodeId]) -> Verdict {
        if self.stats.acknowledged < self.next_media_check {
            return Ok(());
        }
        self.next_media_check = self.stats.acknowledged + APART + self.stats.acknowledged / APART_SHARE;
        self.stats.media_checks += 1;
        let holds = |place: &usize| {
            let store = &self.checkers.stores[*place];
            // What was destroyed, or is hurt, held it when it was asked to: that is all that it promised.
            let is_hurt = self.places.get(*place).is_none_or(|place| place.disk.is_wounded());
            store.node().is_some_and(|node| voters.contains(&node))
                && if is_hurt {
                    store.durable_log().holds(index, chain)
                } else {
                    uncounted(|| self.medium_holds(*place, index, chain))
                }
        };
        // A majority is enough: opening the rest would show nothing more.
        let majority = voters.len() / 2 + 1;
        let count = (0..self.checkers.stores.len()).filter(holds).take(majority).count();
        if count == majority {
            return Ok(());
        }
        let detail = format!("{index} was acknowledged, {count} of {} media hold it", voters.len());
        Err(Violation::of("quorum durability", detail))
    }

    fn medium_holds(&self, place: usize, index: Index, chain: u64) -> bool {
        let fresh = FreshIds { node: NodeId(0), store: StoreId(0) };
        let image = self.places[place].disk.image();
        let Ok((wal, recovered)) = Wal::open(image.mount(), self.wal_options(), CLUSTER_ID, fresh) else {
            return false;
        };
        let base = recovered.log.base().index;
        if index == base {
            return recovered.log.base_chain() == chain;
        }
        let fetched = wal.reader().fetch(GroupId::DEFAULT, index, index, 1);
        fetched.is_ok_and(|fetched| fetched.runs.first().and_then(|run| run.chain_at(index)) == Some(chain))
    }
}
