//! What becomes of places whose disks are hurt: who may be, when a wound shows, and what the operator does then.
//!
//! The disk knows what it should hold, [`crate::budget`] how many places may be destroyed, [`crate::checkers::storage`] what the
//! store had promised. Here the three meet; nothing here knows how a store finds damage.

use slimcluster_core::NodeId;
use slimcluster_core::node::io::Input;
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes, uncounted};
use slimcluster_core::types::StoreId;
use slimcluster_wal::{Damage, FreshIds, Wal, WalError};

use crate::budget::Standing;
use crate::checkers::{Verdict, Violation};
use crate::disk::{DiskFaults, Stray};
use crate::faults::Undo;
use crate::lifecycle::CLUSTER_ID;
use crate::network::Endpoint;
use crate::phases::Phase;
use crate::strike::FaultClass;
use crate::swarm::log_uniform;
use crate::world::{Event, SECOND, World};

/// The WAL thread tries again after this time when the disk is full, as the driver's does.
const FULL_RETRY: u64 = SECOND;
/// The names of the segments begin so, and their order is that of the log.
const LOG_FILES: &str = "log-";

impl World {
    /// Whether the voter that lived here is gone for good.
    pub(crate) fn is_spent(&self, place: usize) -> bool {
        self.budget.is_spent(place)
    }

    /// A disk is hurt, if the budget has room for it and all have known that the cluster is formed; false if not.
    pub(crate) fn hurt_disk(&mut self, place: usize, class: FaultClass, rng: &mut Random) -> Result<bool, Violation> {
        if !self.has_formed || !self.budget.may_hurt(place) {
            return Ok(false);
        }
        let newest = class == FaultClass::BitRot && rng.chance(1, 4);
        if newest {
            // Before the log writes something behind it, which would show that it is missing.
            self.crash(place, true)?;
            self.plan_start(place);
        }
        let disk = &self.places[place].disk;
        let hit = match class {
            FaultClass::BitRot if newest => disk.rot_newest(rng),
            FaultClass::BitRot => disk.rot(rng),
            FaultClass::BadSector => disk.break_sector(rng),
            FaultClass::PhantomWrite => {
                disk.stray_next_sync(Stray::Phantom);
                Some("the next write".to_owned())
            }
            FaultClass::MisdirectedWrite => {
                disk.stray_next_sync(Stray::Misdirected);
                Some("the next write".to_owned())
            }
            _ => {
                sometimes(Situation::WipedVoter);
                self.crash(place, rng.chance(1, 2))?;
                self.replace_disk(place);
                return Ok(true);
            }
        };
        let Some(hit) = hit else { return Ok(false) };
        self.budget.hurt(place);
        self.trace.event(self.now, [40, place as u64, class as u64], || format!("n{}: {class} hits {hit}", place + 1));
        Ok(true)
    }

    /// A disk has little space left, or none, for a while.
    pub(crate) fn fill_disk(&mut self, place: usize, rng: &mut Random) {
        let bytes = if rng.chance(1, 2) { 0 } else { log_uniform(rng, 512, 64 * 1024) };
        self.places[place].disk.limit_space(Some(bytes));
        let lasts = rng.below(10 * SECOND);
        self.after(lasts, Event::Undo(Undo::FreeSpace(place)));
    }

    /// Before a wounded store is opened: the one wound that no single node can notice, the loss of the very last synced batch (and of
    /// those before it that stood in the same sectors, where these are overwritten as a whole), is put right and counted (see
    /// [`crate::budget`]). Everything else is left for the store to find.
    pub(crate) fn judge_wounds(&mut self, place: usize) {
        if *self.budget.standing(place) != Standing::Wounded || !self.places[place].disk.is_wounded() {
            return;
        }
        let fresh = FreshIds { node: NodeId(0), store: StoreId(0) };
        let copy = self.places[place].disk.fork();
        // An opening that has no space would cut the tail and fail afterwards: then nobody could tell any more.
        copy.limit_space(None);
        copy.set_faults(DiskFaults::default());
        let opened = uncounted(|| Wal::open(copy.mount(), self.wal_options(), CLUSTER_ID, fresh));
        let Ok((_, recovered)) = opened else { return };
        let store = &self.checkers.stores[place];
        let is_at_the_end = store.lacks_only_the_last_batch(&recovered)
            || store.lacks_only_an_end(&recovered) && self.places[place].disk.is_astray_to_the_end(LOG_FILES);
        if store.clone().on_opened(&recovered).is_err() && is_at_the_end {
            sometimes(Situation::LastBatchRotten);
            self.places[place].disk.heal();
            self.budget.exclude(place);
        }
    }

    /// Whether `error` is what a wounded store must say: damage, or a sector that cannot be read, by the name of the file. Anything else
    /// that keeps a store from opening is a violation.
    pub(crate) fn is_wound(&self, place: usize, error: &WalError) -> bool {
        let is_wounded = *self.budget.standing(place) == Standing::Wounded && self.places[place].disk.is_wounded();
        is_wounded && names_a_file(error)
    }

    /// The store of a place is refused: it stays down, or the operator moves the directory aside and starts a new node.
    pub(crate) fn lose_store(&mut self, place: usize, error: &WalError) {
        sometimes(Situation::DamagedStoreRefused);
        self.trace.event(self.now, [41, place as u64, 0], || format!("n{} is refused its store: {error}", place + 1));
        self.budget.lose(self.now, place);
        if self.phase == Phase::Faults && self.places[place].rng.chance(1, 2) {
            self.replace_disk(place);
        }
    }

    fn replace_disk(&mut self, place: usize) {
        self.trace.event(self.now, [42, place as u64, 0], || format!("n{} gets an empty disk", place + 1));
        self.places[place].disk.replace();
        self.checkers.on_replaced(place);
        self.budget.replace(self.now, place);
        self.plan_start(place);
    }

    /// What was read back is not what was written, and the store says so: the node is told that it is not there, as the driver does.
    pub(crate) fn restart_soon(&mut self, endpoint: Endpoint) {
        let delay = self.places[endpoint.place].rng.below(2 * SECOND);
        self.after(delay, Event::Undo(Undo::Restart(endpoint)));
    }

    /// Tells a node whether its disk is full, when that changes; while it is, the WAL thread looks again every second.
    pub(crate) fn report_full(&mut self, endpoint: Endpoint, is_full: bool) {
        let Some(process) = self.process(endpoint) else { return };
        if is_full && process.writing_until.is_none() {
            self.after(FULL_RETRY, Event::Space(endpoint));
        }
        let Some(process) = self.process(endpoint) else { return };
        if std::mem::replace(&mut process.is_full, is_full) == is_full {
            return;
        }
        let leads = process.leads.is_some();
        sometimes(match (is_full, leads) {
            (true, true) => Situation::DiskFullAtLeader,
            (true, false) => Situation::DiskFullAtFollower,
            (false, _) => Situation::DiskHasSpaceAgain,
        });
        self.deliver(endpoint, Input::StorageFull(is_full));
    }

    /// The batch did not fit: it is tried again, and nothing of it counts meanwhile.
    pub(crate) fn retry_batch(&mut self, endpoint: Endpoint, batch: Vec<slimcluster_core::storage::Write>) {
        let until = self.now + FULL_RETRY;
        if let Some(process) = self.process(endpoint) {
            process.writing = batch;
            process.writing_until = Some(until);
        }
        self.after(FULL_RETRY, Event::Written(endpoint));
        self.report_full(endpoint, true);
    }

    /// The WAL thread looks whether there is space again.
    pub(crate) fn on_space(&mut self, endpoint: Endpoint) -> Verdict {
        let Some(process) = self.process(endpoint) else { return Ok(()) };
        if !process.is_full || process.writing_until.is_some() || process.stopped {
            return Ok(());
        }
        // As the driver does: what ends an idle log takes next to no room.
        let ended = process.wal.prepare_segment().and_then(|_| match process.wal.needs_idle_record() {
            true => process.wal.idle(),
            false => Ok(()),
        });
        let is_full = process.wal.space() != slimcluster_wal::Space::Free;
        if let Err(error) = ended {
            return self.on_storage_error(endpoint, &error);
        }
        self.report_full(endpoint, is_full);
        Ok(())
    }

    /// The store has failed: with a reason that the world knows it stops the node, which somebody starts again.
    pub(crate) fn on_storage_error(&mut self, endpoint: Endpoint, error: &WalError) -> Verdict {
        if !self.is_hurt(endpoint.place) {
            return Err(Violation::of("storage works", format!("n{}: {error}", endpoint.place + 1)));
        }
        if let Some(process) = self.process(endpoint) {
            process.stopped = true;
        }
        self.note_leader(endpoint.place, Situation::DiskOfALeaderFailed);
        self.deliver(endpoint, Input::StorageFailed(error.to_string()));
        self.restart_soon(endpoint);
        Ok(())
    }

    /// Whether the disk of a place has given its process a reason to stop.
    pub(crate) fn is_hurt(&self, place: usize) -> bool {
        let disk = &self.places[place].disk;
        disk.has_failed() || disk.is_wounded()
    }
}

/// Whether it is damage, or a refused call, and says of which file.
fn names_a_file(error: &WalError) -> bool {
    matches!(error, WalError::Damaged(Damage { file, .. }) | WalError::Io { file, .. } if !file.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_names_no_file_is_found() {
        let refused = |file: &str| WalError::Io {
            directory: "n1".to_owned(),
            file: file.to_owned(),
            operation: "read",
            source: std::io::Error::other("bad sector"),
        };
        assert!(names_a_file(&refused("hard_state")));
        assert!(!names_a_file(&refused("")));
        assert!(!names_a_file(&WalError::NoStore { directory: "n1".to_owned() }), "no damage");
    }
}
