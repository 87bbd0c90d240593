//! The durable log of SlimCluster.

pub mod disk;

pub use disk::{Disk, DiskFile};
