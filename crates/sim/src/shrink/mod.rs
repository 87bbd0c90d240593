//! Making a failing plan small, so that a person can read what went wrong.
//!
//! A plan that fails is changed towards the calm world, one idea at a time: fewer nodes, no strikes of a class, fewer strikes, fewer
//! knobs, fewer clients, an earlier end, shorter waits. Whatever still breaks *the same property* is kept, the rest is undone, until
//! no idea helps any more. What comes out is the text of some lines that goes to `regressions/`.
//!
//! Why this works: a plan is data, each strike draws from a generator of its own and each concern from its own stream, so a plan
//! without one strike or one knob leaves the others as they were. And a run is decided by its plan alone, so the result of shrinking
//! is decided by the failure: candidates are tried on all threads at once, and the first *in their order* is taken.
//!
//! A failure may hang on a coincidence that any change destroys. Where a plan stays long, each candidate is tried with other seeds as
//! well: the same knobs and strikes, and other draws of everything else.
//!
//! Reading order: `trials` (trying candidates within a budget), `minimise` (delta debugging), `passes` (the ideas), `shrunk` (the result).

mod minimise;
mod passes;
mod shrunk;
mod trials;

pub use passes::shrink;
pub use shrunk::{SEEDS_COUNTED, Shrunk};
pub use trials::Budget;
