//! A healthy majority works (L1): whatever is broken for good elsewhere, it has a leader, each of its nodes serves a fresh write and a
//! fresh read, and each is linked with the leader both ways, so that nobody else is needed for a quorum.
//!
//! Two cases are excepted, when the time is up and not before, both of a leader outside the majority. One that reaches a quorum, but not all of the majority, keeps its
//! lead, by the nature of Raft, and those that it does not reach have no leader; where its quorum is one only with nodes that are broken
//! as well, nothing may commit. And one whose disk or processor is slow keeps its
//! lead as long as it sends heartbeats, while whoever lags behind waits for its reads: stepping down for slowness (rule 29) is to
//! come, and takes this exception with it.

use slimcluster_core::node::io::{Stage, Status};
use slimcluster_core::raft::Role;

use crate::network::Network;
use crate::process::Process;

/// The longest election timeout of the nodes, in microseconds of their own clocks.
const ELECTION_TIMEOUT_MAX: u64 = 400_000;
/// Clocks are slow by up to a fifth.
const SLOWEST_CLOCK: (u64, u64) = (4, 5);
/// Ten elections: those that fail by a tie, a candidate that lacks an entry, and the wait before the first.
const ELECTIONS: u64 = 10 * ELECTION_TIMEOUT_MAX;
/// No election is heard of without connections. One that was dialled into a hole when the fault ended is given up after 3 s (the
/// patience of the simulated network), and dialled again after a pause of up to 2 s.
const LINKS: u64 = 5_000_000;

/// A majority that is healthy and connected works within this time, in virtual microseconds.
pub const WORKS_WITHIN: u64 = (LINKS + ELECTIONS) * SLOWEST_CLOCK.1 / SLOWEST_CLOCK.0;

/// What a place has served that began after the last fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// A write was acknowledged.
    pub write: bool,
    /// A read was answered.
    pub read: bool,
}

impl Served {
    /// What it has not served yet, in a word.
    pub fn missing(self) -> Option<&'static str> {
        match self {
            Served { write: false, .. } => Some("write"),
            Served { read: false, .. } => Some("read"),
            Served { .. } => None,
        }
    }
}

/// What is known of a majority, by place.
pub struct Majority<'a> {
    /// Who belongs to it.
    pub is_core: &'a [bool],
    /// What was served there that began since it is healthy.
    pub served: &'a [Served],
    /// The disk or the processor there is slow.
    pub is_slow: &'a [bool],
    /// Who reaches whom.
    pub network: &'a Network,
}

/// Why the majority does not work yet; none when it does.
pub fn missing(processes: &[Option<&Process>], majority: &Majority<'_>) -> Option<String> {
    core(processes, majority).find_map(|place| missing_at(place, processes, majority))
}

/// The same at the end of its time, when what the nature of Raft forbids is not asked for: see the exceptions above.
pub fn missing_at_last(processes: &[Option<&Process>], majority: &Majority<'_>) -> Option<String> {
    let Majority { is_core, is_slow, network, .. } = *majority;
    let Some(leader) = leader(processes, majority) else { return missing(processes, majority) };
    let is_unreached = |place: usize| network.is_cut_between(leader, place);
    let reached = core(processes, majority).filter(|place| !is_unreached(*place)).count();
    let quorum = processes.len() / 2 + 1;
    if !is_core[leader] && (is_slow[leader] || 1 + reached < quorum) {
        return None;
    }
    core(processes, majority)
        .filter(|place| reached == 0 || !is_unreached(*place))
        .find_map(|place| missing_at(place, processes, majority))
}

/// The places of the majority.
fn core<'a>(processes: &'a [Option<&Process>], majority: &'a Majority<'_>) -> impl Iterator<Item = usize> + 'a {
    (0..processes.len()).filter(|place| majority.is_core.get(*place) == Some(&true))
}

/// Who leads in the highest term. A node of the majority does at once, another only while one of the majority follows it: nobody else
/// knows of it.
fn leader(processes: &[Option<&Process>], majority: &Majority<'_>) -> Option<usize> {
    let is_followed = |leader: &Process| {
        let mut core = core(processes, majority).filter_map(|place| processes[place]);
        let place = leader.endpoint.place;
        let followed = |status: Status| status.leader.is_some_and(|known| known.id == leader.node.id());
        majority.is_core.get(place) == Some(&true) || core.any(|process| followed(process.node.status()))
    };
    let leads = |process: &&Process| process.node.raft().is_some_and(|raft| raft.role() == Role::Leader);
    let leaders = processes.iter().flatten().copied().filter(leads).filter(|leader| is_followed(leader));
    leaders.max_by_key(|process| process.node.status().term).map(|process| process.endpoint.place)
}

fn missing_at(place: usize, processes: &[Option<&Process>], majority: &Majority<'_>) -> Option<String> {
    let Majority { is_core, served, network, .. } = *majority;
    let name = format!("n{}", place + 1);
    let Some(process) = processes[place] else { return Some(format!("{name} is down")) };
    let status = process.node.status();
    if status.stage != Stage::Working || status.leader.is_none() {
        return Some(format!("{name} is not working: {:?}, leader {:?}", status.stage, status.leader));
    }
    if let Some(what) = served[place].missing() {
        return Some(format!("no fresh {what} was served at {name}"));
    }
    if let Some(leader) = leader(processes, majority).filter(|leader| *leader != place && is_core[*leader])
        && !(network.is_linked(place, leader) && network.is_linked(leader, place))
    {
        return Some(format!("{name} and the leader n{} are not linked both ways", leader + 1));
    }
    None
}
