//! A healthy majority works (L1): whatever is broken for good elsewhere, it has a leader, a fresh write commits through each of its
//! nodes, and each is linked with the leader both ways, so that nobody else is needed for a quorum.
//!
//! Two cases are excepted, both of a leader outside the majority. One that reaches a quorum, but not all of the majority, keeps its
//! lead, by the nature of Raft, and those that it does not reach have no leader; where its quorum is one only with nodes that are broken
//! as well, nothing may commit. And one whose disk or processor is slow keeps its
//! lead as long as it sends heartbeats, while whoever lags behind waits for its reads: stepping down for slowness (rule 29) is to
//! come, and takes this exception with it.

use slimcluster_core::node::io::Stage;

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

/// What is known of a majority, by place.
pub struct Majority<'a> {
    /// Who belongs to it.
    pub is_core: &'a [bool],
    /// A write that began since it is healthy was acknowledged there.
    pub fresh: &'a [bool],
    /// The disk or the processor there is slow.
    pub is_slow: &'a [bool],
    /// Who reaches whom.
    pub network: &'a Network,
}

/// Why the majority does not work yet; none when it does.
pub fn missing(processes: &[Option<&Process>], majority: &Majority<'_>) -> Option<String> {
    let Majority { is_core, fresh, is_slow, network } = *majority;
    let leads = |process: &&Process| process.node.raft().is_some_and(|raft| raft.role() == Role::Leader);
    let leaders = processes.iter().flatten().copied().filter(leads);
    let leader = leaders.max_by_key(|process| process.node.status().term).map(|process| process.endpoint.place);
    let core: Vec<usize> = (0..processes.len()).filter(|place| is_core.get(*place) == Some(&true)).collect();
    let unreached = |place: usize| leader.is_some_and(|leader| network.is_cut_between(leader, place));
    let reaches_some = core.iter().any(|place| !unreached(*place));
    if leader.is_some_and(|leader| is_slow[leader] && !is_core[leader]) {
        return None;
    }
    let reached = 1 + core.iter().filter(|place| !unreached(**place)).count();
    if leader.is_some_and(|leader| !is_core[leader]) && reached <= processes.len() / 2 {
        return None;
    }
    for place in core {
        if reaches_some && unreached(place) {
            continue;
        }
        let name = format!("n{}", place + 1);
        let Some(process) = processes[place] else { return Some(format!("{name} is down")) };
        let status = process.node.status();
        if status.stage != Stage::Working || status.leader.is_none() {
            return Some(format!("{name} is not working: {:?}, leader {:?}", status.stage, status.leader));
        }
        if !fresh[place] {
            return Some(format!("no fresh write went through {name}"));
        }
        if let Some(leader) = leader.filter(|leader| *leader != place && is_core[*leader])
            && !(network.is_linked(place, leader) && network.is_linked(leader, place))
        {
            return Some(format!("{name} and the leader n{} are not linked both ways", leader + 1));
        }
    }
    None
}
