//! The fuzz targets: plain functions of bytes that panic when something does not hold.
//!
//! A target knows nothing of a fuzzer. libFuzzer drives it from `fuzz/`, with coverage, for as long as one likes; `cargo test` runs it
//! over every input that a fuzzer has kept. So a crash that was found once is a test for ever, on any toolchain.
//!
//! What a target asserts, besides that nothing panics:
//!
//! * what decodes lies within its documented bounds, and encoding it again and decoding that gives the same value;
//! * the code under test never holds more memory at once than its input and the documented limits justify ([`allocations`]);
//! * where there is an independent way to the same answer, it gives the same answer.
//!
//! Checksums stop nearly every mutation of a sealed input at the door. So targets whose input carries one judge it as it came and once
//! more with the checksum put right ([`seal`]).
//!
//! Reading order: [`catalogue`] (all targets by name), [`allocations`], [`draw`] (structure out of bytes), [`seal`]; then the targets:
//! what comes over the network ([`gossip`], [`frames`], [`peer`]), what stands in the log ([`run`], [`entries`], [`host`]), what stands on disk
//! ([`disk`], [`store`], [`files`]), whole nodes ([`node`]), and whole clusters ([`plan`]). [`seeds`] makes the first inputs, from the golden vectors
//! and, with [`bounds`], at the edge of what is allowed.

pub mod allocations;
pub mod catalogue;
pub mod draw;
pub mod seal;

pub mod frames;
pub mod gossip;
pub mod peer;

pub mod entries;
pub mod host;
pub mod run;

pub mod disk;
pub mod files;
pub mod store;

pub mod node;
pub mod plan;

pub mod bounds;
pub mod seeds;

pub use catalogue::{TARGETS, Target, find};
