//! The commands of `slimcluster-sim`: each takes its words and says whether all was good, or why it could not be tried.
//!
//! The words are read by a few lines of our own: the package is a library for its users' tests, and its binary brings them no
//! dependency.
//!
//! Reading order: `usage` (the commands, and which runs when), `arguments` (words), `say` (lines), `base` (where fresh seeds begin),
//! `seeds`, `soak`, `replay`, `shrink`, `situations`, `mutants`, `failing` (what is done about a failure).

mod arguments;
mod base;
mod failing;
mod mutants;
mod replay;
mod say;
mod seeds;
mod shrink;
mod situations;
mod soak;
mod usage;

pub use usage::run;
