//! The writer.

use std::sync::Arc;

use slimcluster_core::storage::{KnownPeer, Recovered, Write};

use crate::{Disk, FreshIds, Options, WalError, WalReader};

/// Whether the log may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Space {
    /// It may.
    Free,
    /// It should not: nothing has failed, but new commands must be refused until it says free again.
    Full {
        /// Why, for people.
        why: String,
    },
}

/// The writer of a store. Owned by one thread; every call is synchronous.
pub struct Wal {
    reader: WalReader,
}

impl Wal {
    /// Opens the store, or makes one where there is none, and raises the generation of its identity by one, durably.
    ///
    /// `fresh` is used only when the directory is new. Fails without changing anything when the directory is in use, belongs
    /// to another cluster id or is damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        cluster_id: &str,
        fresh: FreshIds,
    ) -> Result<(Wal, Recovered), WalError> {
        let _ = (disk, options, cluster_id, fresh);
        Err(WalError::Poisoned { reason: "not built yet".into() })
    }

    /// Makes the batch durable, in order: one sync for all its runs, one more when term or vote change (rule 4), an identity by
    /// its own durable replacement.
    ///
    /// On `Ok` everything is durable. [`WalError::Full`] is said before any run is written and leaves the store working: the same
    /// batch may be tried again. Any other error poisons the store: every later call returns [`WalError::Poisoned`].
    pub fn write(&mut self, batch: &[Write]) -> Result<(), WalError> {
        let _ = batch;
        Err(WalError::Poisoned { reason: "not built yet".into() })
    }

    /// Whether the last thing written is not yet followed by a record (rule 3).
    pub fn needs_idle_record(&self) -> bool {
        false
    }

    /// Writes one empty batch if [`Wal::needs_idle_record`]. Called when nothing was written for 100 ms.
    pub fn idle(&mut self) -> Result<(), WalError> {
        Ok(())
    }

    /// Goes on preparing the next segment when the current one is half full: a bounded step, so that no commit waits long. Called
    /// after each write was acknowledged, and about once a second while the space is full. A full disk is no error here.
    pub fn prepare_segment(&mut self) -> Result<Space, WalError> {
        Ok(Space::Free)
    }

    /// Whether the log may grow, as of the last write or preparation.
    pub fn space(&self) -> Space {
        Space::Free
    }

    /// A reader of what is durable.
    pub fn reader(&self) -> WalReader {
        self.reader.clone()
    }

    /// Replaces the file of known peers. A full disk loses the new list only; any other failure poisons the store.
    pub fn remember_peers(&mut self, peers: &[KnownPeer]) -> Result<(), WalError> {
        let _ = peers;
        Ok(())
    }
}
