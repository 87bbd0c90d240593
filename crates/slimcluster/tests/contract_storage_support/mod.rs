//! The storages that the suite is tried on.

pub mod disk;
pub mod shelf;
pub mod wal_on;
