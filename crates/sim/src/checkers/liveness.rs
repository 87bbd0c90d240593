//! A healthy majority works (L1): whatever is broken for good elsewhere, it has a leader, a fresh write commits through each of its
//! nodes, and each is linked with the leader both ways, so that nobody else is needed for a quorum.
//!
//! One case is excepted, by the nature of Raft: a leader outside the majority that reaches a quorum, but not all of the majority,
//! keeps its lead, and those that it does not reach have no leader.

use slimcluster_core::node::io::Stage;

use slimcluster_core::raft::Role;

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

/// Why the majority does not work yet; none when it does. `fresh[place]`: a write that began since it is healthy was acknowledged
/// there. `is_cut(a, b)`: nothing gets from one of the two places to the other; `is_linked(a, b)`: a connection stands that `a` dialled.
pub fn missing(
    processes: &[Option<&Process>],
    is_core: &[bool],
    fresh: &[bool],
    is_cut: impl Fn(usize, usize) -> bool,
    is_linked: impl Fn(usize, usize) -> bool,
) -> Option<String> {
    let leads = |process: &&Process| process.node.raft().is_some_and(|raft| raft.role() == Role::Leader);
    let leaders = processes.iter().flatten().copied().filter(leads);
    let leader = leaders.max_by_key(|process| process.node.status().term).map(|process| process.endpoint.place);
    let core: Vec<usize> = (0..processes.len()).filter(|place| is_core.get(*place) == Some(&true)).collect();
    let unreached = |place: usize| leader.is_some_and(|leader| is_cut(leader, place));
    let reaches_some = core.iter().any(|place| !unreached(*place));
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
        if fresh.get(place) != Some(&true) {
            return Some(format!("no fresh write went through {name}"));
        }
        if let Some(leader) = leader.filter(|leader| *leader != place && is_core.get(*leader) == Some(&true))
            && !(is_linked(place, leader) && is_linked(leader, place))
        {
            return Some(format!("{name} and the leader n{} are not linked both ways", leader + 1));
        }
    }
    None
}
