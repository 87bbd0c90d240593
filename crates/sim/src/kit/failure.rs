//! What is said when a user's machine, or its test, does not hold.

use std::fmt;

/// The variable that names the one seed to run.
pub(super) const SEED_VARIABLE: &str = "SLIMCLUSTER_SIM_SEED";

/// Why a test does not pass.
///
/// A seed fixes the world and whatever the clients draw. A machine that depends on something else, such as a clock or the order of a
/// `HashMap`, may pass when the same seed is run again, and is no less wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestFailure {
    /// What was asked for cannot be run; nothing was.
    Setup(String),
    /// A property does not hold in the run of a seed.
    Seed {
        /// The seed. Its world comes again; whether the failure does is up to the machine, see [`TestFailure`].
        seed: u64,
        /// The property, in words.
        property: String,
        /// What was seen, in lines.
        detail: String,
        /// When, and in what kind of world.
        world: String,
        /// The last events before it; only of a seed that is run alone.
        trace: Vec<String>,
        /// The test that ran it, where that is known.
        test: Option<String>,
    },
}

/// What to look for, by property.
const CAUSES: &[(&str, &str)] = &[
    ("equal replicas", UNLIKE),
    ("determinism", UNLIKE),
    (
        "snapshot round trip",
        "a state must say all that there is to say when it is written. The usual causes: a field that is skipped \
         (#[serde(skip)]) and still matters, a map or set without an order (HashMap, HashSet), floating point that is \
         rounded on the way, an attribute that postcard cannot read back (#[serde(untagged)], flatten, skip_serializing_if).",
    ),
];

const UNLIKE: &str = "apply must be a function of the state, the command and the context. The usual causes: a clock \
                      (Instant::now, SystemTime::now; take cx.log_time or cx.wall_time), chance (take cx.rng), the order of a \
                      HashMap or HashSet (take BTreeMap or BTreeSet), an address, a thread, a file, a global.\n  \
                      Such a bug may pass when this seed is run again: a seed fixes the world, and not what apply takes from \
                      outside it.";

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, property, detail, world, trace, test) = match self {
            TestFailure::Setup(why) => return write!(f, "the test cannot run: {why}"),
            TestFailure::Seed { seed, property, detail, world, trace, test } => {
                (seed, property, detail, world, trace, test)
            }
        };
        writeln!(f, "seed {seed} fails: {property}")?;
        let test = test.as_deref().unwrap_or("NAME-OF-THE-TEST");
        writeln!(f, "  again: {SEED_VARIABLE}={seed} cargo test {test}")?;
        writeln!(f)?;
        for line in detail.lines() {
            writeln!(f, "{}{line}", if line.is_empty() { "" } else { "  " })?;
        }
        if let Some((_, cause)) = CAUSES.iter().find(|(name, _)| name == property) {
            writeln!(f, "\n  {cause}")?;
        }
        write!(f, "\n  {world}")?;
        trace.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for TestFailure {}
