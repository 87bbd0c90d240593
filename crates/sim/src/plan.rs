//! The plan of a run: everything that a seed decides before the first event. A seed is drawn into a plan, a plan is run, a plan
//! that fails is made smaller, and a small plan that failed once is kept as text in `regressions/` for ever.
//!
//! The text names only what differs from the calm world ([`Swarm::calm`]), so that it stays short and survives new kinds of faults.

use serde::Deserialize;
use slimcluster_core::random::Random;
use toml::{Table, Value};

use crate::streams::{Concern, stream};
use crate::strike::{FaultClass, Strike};
use crate::swarm::{Profile, Swarm, draw_class, draw_odds, log_uniform};

/// The version of the text form. Raised when an old text would mean something else.
const FORMAT: i64 = 1;
/// So long things go wrong ten times as often where the forming of a cluster is what is looked at.
const FORMATION: u64 = 12_000_000;
/// TOML knows signed integers only.
const SEED_MAX: u64 = i64::MAX as u64;

/// What happens in a run beside what the cluster does.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Names the streams of everything that is drawn while it runs.
    pub seed: u64,
    /// What kind of world it is.
    pub swarm: Swarm,
    /// What goes wrong when, in order of time.
    pub strikes: Vec<Strike>,
}

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is not TOML, or a field has a wrong value, or is not known.
    #[error("not a plan: {0}")]
    Text(String),
    /// It was written for another version of the simulator.
    #[error("a plan of format {0}, and this build reads format {FORMAT}: draw the seed again and keep the new text")]
    Format(i64),
    /// It describes a world that cannot be.
    #[error("a world that cannot be: {0}")]
    World(String),
}

/// The text form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    seed: u64,
    #[serde(default)]
    world: Table,
    #[serde(default)]
    strikes: Vec<Strike>,
}

impl Plan {
    /// The plan of a seed; with a profile, the plan that the seed would be if that profile had been drawn.
    pub fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let mut rng = stream(seed, Concern::Swarm, 0);
        let drawn = Profile::draw(&mut rng);
        let profile = profile.unwrap_or(drawn);
        let swarm = Swarm::draw(&mut rng, profile);
        let odds = draw_odds(&mut rng);
        let mut strikes = Vec::new();
        for (number, (class, _, low, high)) in FaultClass::ALL.iter().enumerate() {
            let mut rng = stream(seed, Concern::Strikes, number as u64);
            if !draw_class(&mut rng, *class, profile, odds) {
                continue;
            }
            let mean = 1_000 * log_uniform(&mut rng, *low, *high);
            let pause = |at: u64, rng: &mut Random| {
                let hurry = match profile {
                    Profile::Formation if at < FORMATION => 10,
                    Profile::Churn if *class == FaultClass::ProcessCrash => 10,
                    _ => 1,
                };
                (mean / 4 + rng.below(mean * 3 / 2)) / hurry
            };
            let mut at = pause(0, &mut rng);
            while at < swarm.faults_for {
                // Half of the bits are plenty, and short to read.
                strikes.push(Strike { at, class: *class, rng_seed: rng.next() >> 32 });
                at += pause(at, &mut rng);
            }
        }
        strikes.sort_by_key(|strike| strike.at);
        Plan { seed, swarm, strikes }
    }

    /// The plan as text, with `comment` above it.
    pub fn to_text(&self, comment: &str) -> String {
        let mut world = table(&self.swarm);
        subtract(&mut world, &table(&Swarm::calm()));
        let mut lines: String = comment.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
        lines += &format!("format = {FORMAT}\nseed = {}\nstrikes = [", self.seed);
        for strike in &self.strikes {
            lines += &format!("\n    \"{strike}\",");
        }
        lines += if self.strikes.is_empty() { "]\n\n" } else { "\n]\n\n" };
        // Strings, integers, booleans and arrays of them: nothing that TOML could not hold.
        lines += &toml::to_string(&Table::from_iter([("world".to_owned(), Value::Table(world))])).unwrap_or_default();
        lines
    }

    /// Reads a plan.
    pub fn from_text(text: &str) -> Result<Self, PlanError> {
        let wrong = |error: toml::de::Error| PlanError::Text(error.to_string().trim_end().to_owned());
        let mut table: Table = text.parse().map_err(wrong)?;
        match table.remove("format") {
            Some(Value::Integer(FORMAT)) => {}
            Some(Value::Integer(format)) => return Err(PlanError::Format(format)),
            Some(other) => return Err(PlanError::Text(format!("`format` is {other}, which is no whole number"))),
            None => return Err(PlanError::Text("`format` is missing".to_owned())),
        }
        let text: Text = table.try_into().map_err(wrong)?;
        let mut plan = Plan { seed: text.seed, swarm: text.world.try_into().map_err(wrong)?, strikes: text.strikes };
        plan.strikes.sort_by_key(|strike| strike.at);
        plan.check()?;
        Ok(plan)
    }

    /// Whether the world can be.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.seed > SEED_MAX {
            return Err(PlanError::World(format!("seed {} is above {SEED_MAX}", self.seed)));
        }
        self.swarm.check().map_err(PlanError::World)
    }
}

fn table(swarm: &Swarm) -> Table {
    Table::try_from(swarm).unwrap_or_default()
}

/// Leaves in `table` what differs from `other`.
fn subtract(table: &mut Table, other: &Table) {
    for (key, theirs) in other {
        match (table.get_mut(key), theirs) {
            (Some(Value::Table(ours)), Value::Table(theirs)) => {
                subtract(ours, theirs);
                if ours.is_empty() {
                    table.remove(key);
                }
            }
            (Some(ours), theirs) if ours == theirs => {
                table.remove(key);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_reads_back_from_its_text() {
        for seed in 0..200 {
            let plan = Plan::draw(seed, None);
            assert_eq!(Plan::from_text(&plan.to_text("seed\nof a test")), Ok(plan));
        }
    }

    #[test]
    fn the_calm_world_is_a_short_text() {
        let plan = Plan { seed: 7, swarm: Swarm::calm(), strikes: Vec::new() };
        assert_eq!(plan.to_text("calm"), "# calm\nformat = 1\nseed = 7\nstrikes = []\n\n[world]\n");
    }

    #[test]
    fn what_is_no_plan_is_said_in_one_error() {
        let cases = [
            ("seed = 1", "`format` is missing"),
            ("format = 0\nseed = 1", "a plan of format 0"),
            ("format = \"1\"\nseed = 1", "`format` is \"1\", which is no whole number"),
            ("format = 1", "seed"),
            ("format = 1\nseed = 1\nbogus = 2", "bogus"),
            ("format = 1\nseed = 1\n[world]\nbogus = 2", "bogus"),
            ("format = 1\nseed = 1\n[world]\nnodes = 0", "0 nodes"),
            ("format = 1\nseed = 1\nstrikes = [\"1.000000 thunder 1\"]", "thunder"),
            ("seeds 12 to 20", "not a plan"),
        ];
        for (text, said) in cases {
            let error = Plan::from_text(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }
}
