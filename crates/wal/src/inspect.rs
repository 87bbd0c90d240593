//! Looking at a store that no process uses: the same reading and verifying as recovery, changing nothing.

use std::sync::Arc;

use slimcluster_core::storage::{Identity, KnownPeer, LogSummary};
use slimcluster_core::{HardState, Run};

use crate::device::Directory;
use crate::error::WalError;
use crate::mutants::Planted;
use crate::record::RecordKind;
use crate::{Disk, hard_state, identity, peers, recovery, segment};

/// Something sound that was come upon, in the order of reading.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The identity file.
    Identity(&'a Identity),
    /// The hard state in force.
    HardState {
        /// Term and vote.
        state: HardState,
        /// Its write number.
        number: u64,
    },
    /// A record of the log, verified and linked to the one before.
    Record {
        /// The number of its segment.
        segment: u64,
        /// Where it starts in the segment, in bytes.
        offset: u64,
        /// Its length in bytes, header and padding included.
        bytes: u64,
        /// Its batch.
        batch: u64,
        /// Whether it ends its batch.
        ends_batch: bool,
        /// What it holds.
        kind: RecordKind,
        /// The run that it holds, if it does.
        run: Option<&'a Run>,
    },
}

/// A store that was read to its end.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What the log's records add up to.
    pub log: LogSummary,
    /// Every segment file.
    pub segments: Vec<SegmentSummary>,
    /// The next open will cut a torn tail: bytes of a batch that was never acknowledged.
    pub has_torn_tail: bool,
    /// The peers' last known addresses.
    pub peers: Vec<KnownPeer>,
}

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The name of its file.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// How many of them are in use; 0 for one that is only prepared.
    pub used: u64,
}

/// Reads and verifies a whole store and shows what it comes upon to `visit`. Changes nothing.
///
/// Fails at the first damage, having shown everything before it, and with [`WalError::InUse`] while a process has the store open.
pub fn inspect(disk: Arc<dyn Disk>, visit: &mut dyn FnMut(Seen<'_>)) -> Result<Inspection, WalError> {
    let directory = Directory::new(disk, Planted::default());
    directory.lock()?;
    let names = directory.list()?;
    let is_ours =
        |name: &String| segment::number(name).is_some() || [identity::NAME, hard_state::NAME].contains(&name.as_str());
    if !names.iter().any(is_ours) {
        return Err(WalError::NoStore { directory: directory.path() });
    }
    let mut ends: Vec<(u64, u64)> = Vec::new();
    let found = recovery::find(&directory, &names, 0, &mut |seen| {
        if let Seen::Record { segment, offset, bytes, .. } = seen {
            match ends.last_mut() {
                Some((last, end)) if *last == segment => *end = offset + bytes,
                _ => ends.push((segment, offset + bytes)),
            }
        }
        visit(seen);
    })?;
    let segments = found.segments.iter().map(|segment| SegmentSummary {
        name: segment.file.name().to_owned(),
        length: segment.length,
        used: ends.iter().find(|(number, _)| *number == segment.number).map_or(0, |(_, end)| *end),
    });
    Ok(Inspection {
        log: found.replay.log,
        segments: segments.collect(),
        has_torn_tail: !found.end.torn.is_empty() || !found.end.link.complete,
        peers: peers::read(&directory),
    })
}
