//! The deterministic world of SlimCluster.

pub mod disk;
pub mod trace;
