//! Situations that the simulator must have met: rare places in the code and rare moments of a cluster, each with a name.
//!
//! A simulator that never reaches a place proves nothing about it. [`sometimes`] marks such a place, and the simulator counts how
//! often each was reached. Without the cargo feature `situations` a mark is an empty function and costs nothing.

/// Declares the situations: a name for code, and a sentence for people.
macro_rules! situations {
    ($($name:ident: $text:literal,)*) => {
        /// A situation with a name; [`Situation::describe`] says what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Situation {
            $(#[doc = $text] $name,)*
        }

        impl Situation {
            /// Every situation.
            pub const ALL: &'static [Situation] = &[$(Situation::$name,)*];

            /// What has happened, in words.
            pub fn describe(self) -> &'static str {
                match self {
                    $(Situation::$name => $text,)*
                }
            }
        }
    };
}

situations! {
    // Elections.
    LeaderElected: "a leader was elected",

    // Storage.
    TornTailCut: "recovery cut a torn tail",
}

/// Notes that `situation` has come about.
#[cfg(not(feature = "situations"))]
#[inline(always)]
pub fn sometimes(_situation: Situation) {}

#[cfg(feature = "situations")]
pub use counting::{Counts, sometimes, take};

#[cfg(feature = "situations")]
mod counting {
    use std::cell::Cell;

    use super::Situation;

    /// How often each situation came about, in the order of [`Situation::ALL`].
    pub type Counts = [u64; Situation::ALL.len()];

    std::thread_local! {
        /// A simulated world runs on one thread, with all of its nodes.
        static COUNTS: [Cell<u64>; Situation::ALL.len()] = const { [const { Cell::new(0) }; Situation::ALL.len()] };
    }

    /// Notes that `situation` has come about, for the world that runs on this thread.
    #[inline]
    pub fn sometimes(situation: Situation) {
        COUNTS.with(|counts| counts[situation as usize].update(|count| count + 1));
    }

    /// What came about on this thread since the last call.
    pub fn take() -> Counts {
        COUNTS.with(|counts| std::array::from_fn(|at| counts[at].take()))
    }
}
