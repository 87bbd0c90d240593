//! The ideas: each takes the best plan so far and offers simpler ones.

use toml::{Table, Value};

use super::shrunk::Shrunk;
use super::trials::{Budget, Trials};
use crate::gossip::Act;
use crate::plan::Plan;
use crate::report::Failure;
use crate::strike::{FaultClass, Strike};
use crate::swarm::Swarm;
use crate::workload::Workload;
use crate::world::{MILLISECOND, RunOptions, SECOND};

/// With another seed, the same knobs and strikes make another world. So many are tried where the seed's own cannot be expected to fail.
const OTHER_SEEDS: u64 = 12;
/// A plan of so many lines can be read: with a comment it is some thirty.
const LINES_MAX: usize = 28;
/// No shorter phase of faults is worth a run.
const FAULTS_FOR_MIN: u64 = SECOND;

/// Makes the plan of `failure` as small as the budget allows, such that it breaks the same property. `options` and `workload` must
/// be those that it failed with.
pub fn shrink(
    failure: &Failure,
    options: RunOptions,
    workload: &(dyn Fn(&Plan) -> Box<dyn Workload> + Sync),
    budget: Budget,
) -> Shrunk {
    let mut trials = Trials::new(failure, options, workload, budget);
    loop {
        let before = trials.best.clone();
        trials.fewer_nodes();
        trials.earlier_end();
        trials.fewer_classes();
        trials.fewer_strikes();
        trials.fewer_acts();
        trials.fewer_members();
        trials.fewer_knobs();
        trials.fewer_clients();
        trials.earlier_strikes();
        trials.rounder_times();
        if trials.spent() || trials.best == before && (trials.is_short() || trials.other_seeds > 0) {
            break;
        }
        // Some failures need a coincidence that any change destroys: then other coincidences are looked for.
        trials.other_seeds = if trials.best == before { OTHER_SEEDS } else { 0 };
    }
    Shrunk::of(failure, &trials, options, workload)
}

impl Trials<'_> {
    fn is_short(&self) -> bool {
        self.best.to_text("").lines().count() <= LINES_MAX
    }

    /// Three nodes if possible, then two, then one; else the fewest that fail.
    fn fewer_nodes(&mut self) {
        let now = self.best.swarm.nodes;
        for nodes in [3, 2, 1].into_iter().chain(4..now).filter(|nodes| *nodes < now) {
            if nodes > self.best.swarm.nodes {
                return;
            }
            // A world of fewer nodes is another world in any case.
            let other_seeds = std::mem::replace(&mut self.other_seeds, OTHER_SEEDS);
            self.first(&[with_nodes(&self.best, nodes)]);
            self.other_seeds = other_seeds;
        }
    }

    /// Nothing that would happen after the failure, and as short a phase of faults as there can be.
    fn earlier_end(&mut self) {
        let end = (self.fails_at / SECOND + 1) * SECOND;
        if end < self.best.swarm.faults_for {
            self.first(&[with_end(&self.best, end)]);
        }
        loop {
            let end = self.best.swarm.faults_for;
            let ends = [end / 4, end / 2, end * 3 / 4, end.saturating_sub(SECOND)];
            let ends = ends.map(|end| end / SECOND * SECOND).into_iter().filter(|end| *end >= FAULTS_FOR_MIN);
            let candidates: Vec<Plan> = ends.map(|end| with_end(&self.best, end)).collect();
            if self.first(&candidates).is_none() {
                return;
            }
        }
    }

    fn fewer_classes(&mut self) {
        let mut classes: Vec<FaultClass> = self.best.strikes.iter().map(|strike| strike.class).collect();
        classes.sort_unstable();
        classes.dedup();
        self.minimise(classes, |plan, classes| {
            let mut plan = plan.clone();
            plan.strikes.retain(|strike| classes.contains(&strike.class));
            plan
        });
    }

    fn fewer_strikes(&mut self) {
        self.minimise(self.best.strikes.clone(), |plan, strikes| Plan { strikes: strikes.to_vec(), ..plan.clone() });
    }

    /// In a world of SWIM alone: fewer disturbances, in their order.
    fn fewer_acts(&mut self) {
        let acts: Vec<(usize, Act)> = self.best.swarm.acts.iter().copied().enumerate().collect();
        self.minimise(acts, |plan, kept| {
            let mut plan = plan.clone();
            plan.swarm.acts = kept.iter().map(|(_, act)| *act).collect();
            plan
        });
    }

    /// In a world of SWIM alone: as few members as fail.
    fn fewer_members(&mut self) {
        let now = self.best.swarm.members;
        let fewer = [2, 3, 4, 5, 8, 16].into_iter().filter(|members| *members < now);
        let candidates: Vec<Plan> = fewer.map(|members| with_members(&self.best, members)).collect();
        // A world of fewer members is another world in any case.
        let other_seeds = std::mem::replace(&mut self.other_seeds, OTHER_SEEDS);
        self.first(&candidates);
        self.other_seeds = other_seeds;
    }

    /// Every knob as in the calm world, but those that the failure needs. They are found by their names, so that a new knob needs
    /// nothing here.
    fn fewer_knobs(&mut self) {
        let calm = table(&Swarm::calm());
        let paths = differing(&table(&self.best.swarm), &calm);
        // How many nodes or members there are, how long the faults last, and what disturbs have passes of their own.
        let paths = paths
            .into_iter()
            .filter(|path| !["nodes", "faults_for", "members", "acts"].contains(&path[0].as_str()))
            .collect();
        self.minimise(paths, |plan, kept: &[Path]| {
            let mut knobs = table(&plan.swarm);
            for path in differing(&knobs, &calm).iter().filter(|path| !kept.contains(path)) {
                copy(&mut knobs, &calm, path);
            }
            let Swarm { nodes, faults_for, members, acts, .. } = plan.swarm.clone();
            Plan { swarm: Swarm { nodes, faults_for, members, acts, ..swarm(knobs, plan) }, ..plan.clone() }
        });
    }

    fn fewer_clients(&mut self) {
        let clients = (1..self.best.swarm.clients).map(|clients| {
            let mut plan = self.best.clone();
            plan.swarm.clients = clients;
            plan
        });
        let candidates: Vec<Plan> = clients.collect();
        self.first(&candidates);
    }

    /// Each strike sooner after the one before, and all that follow with it.
    fn earlier_strikes(&mut self) {
        for at in 0..self.best.strikes.len() {
            let before = at.checked_sub(1).map_or(0, |before| self.best.strikes[before].at);
            let gap = self.best.strikes[at].at - before;
            let candidates = [gap, gap * 3 / 4, gap / 2].map(|sooner| {
                let mut plan = self.best.clone();
                plan.strikes[at..].iter_mut().for_each(|strike| strike.at -= sooner);
                plan
            });
            if gap > MILLISECOND {
                self.first(&candidates);
            }
        }
    }

    /// Times that are easy to read.
    fn rounder_times(&mut self) {
        let candidates = [SECOND, 100 * MILLISECOND, 10 * MILLISECOND, MILLISECOND].map(|unit| {
            let mut plan = self.best.clone();
            plan.strikes.iter_mut().for_each(|strike| strike.at = strike.at / unit * unit);
            plan
        });
        self.first(&candidates);
    }
}

fn with_nodes(plan: &Plan, nodes: usize) -> Plan {
    let mut plan = plan.clone();
    plan.swarm.nodes = nodes;
    plan.swarm.codecs.truncate(nodes);
    plan.swarm.starts.truncate(nodes);
    plan
}

fn with_members(plan: &Plan, members: usize) -> Plan {
    let mut plan = plan.clone();
    plan.swarm.members = members;
    plan.swarm.codecs.truncate(members + 1 + plan.swarm.acts.len());
    plan
}

fn with_end(plan: &Plan, end: u64) -> Plan {
    let mut plan = plan.clone();
    plan.swarm.faults_for = end;
    plan.strikes.retain(|Strike { at, .. }| *at < end);
    plan
}

/// Where a knob is: its name, after that of its table if it is in one.
type Path = Vec<String>;

fn table(swarm: &Swarm) -> Table {
    // Numbers, words and lists of them: nothing that TOML could not hold.
    Table::try_from(swarm).unwrap_or_default()
}

fn swarm(table: Table, plan: &Plan) -> Swarm {
    table.try_into().unwrap_or_else(|_| plan.swarm.clone())
}

/// The knobs that are not as in `calm`.
fn differing(knobs: &Table, calm: &Table) -> Vec<Path> {
    let mut paths = Vec::new();
    for (name, value) in knobs {
        match (value, calm.get(name)) {
            (Value::Table(inner), Some(Value::Table(calm))) => {
                let inner = differing(inner, calm).into_iter();
                paths.extend(inner.map(|path| [vec![name.clone()], path].concat()));
            }
            (value, calm) if calm != Some(value) => paths.push(vec![name.clone()]),
            _ => {}
        }
    }
    paths
}

/// Sets one knob of `to` as it is in `from`.
fn copy(to: &mut Table, from: &Table, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    match (to.get_mut(name), from.get(name)) {
        (Some(Value::Table(to)), Some(Value::Table(from))) if !rest.is_empty() => copy(to, from, rest),
        (_, Some(value)) => {
            to.insert(name.clone(), value.clone());
        }
        (_, None) => {
            to.remove(name);
        }
    }
}
