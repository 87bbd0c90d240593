//! The simulated disk: a cache and a medium apart, with everything that may go wrong between them (rule 41).
//!
//! A write lands in the cache and makes its sectors dirty; a sync carries them to the medium; the kernel may write any of them
//! back earlier. A *process crash* keeps the cache for the next process, synced or not. A *power loss* keeps the medium and any
//! subset of what was pending, sectors and directory entries alike, the last one perhaps torn. A *failed sync* marks the pages
//! clean although the medium never got them: the cache still serves them, a later sync does not write them, and dropping the
//! cache reveals it.
//!
//! Beyond what a sync promises, a medium can be *wounded*: bits rot, a write never arrives although the disk says so, or arrives
//! somewhere else, a sector cannot be read any more. [`SimDisk`] remembers what each wounded sector should hold, so that the world
//! can tell a wound that must be noticed from one that no single node can notice (rule 4).

mod content;
mod hardware;
mod mounted;
mod names;

#[cfg(test)]
mod tests;

pub use hardware::{DiskFaults, SimDisk, Stray};
