//! Repository checks that run as tests: what a reviewer would otherwise have to remember.
//!
//! Every check is a function from the [`Tree`](tree::Tree) of files to a list of [`Finding`](tree::Finding)s; an empty list
//! passes. So each check is shown to fail on a small made-up tree beside its code, and `tests/repository.rs` runs them all on
//! the real one.
//!
//! Reading order: [`tree`] (the files), [`source`] (Rust text without its comments, strings and tests), then the checks:
//! [`purity`], [`layering`], [`sizes`], [`words`], [`documents`].

pub mod tree;

pub mod source;

pub mod documents;
pub mod layering;
pub mod purity;
pub mod sizes;
pub mod words;
