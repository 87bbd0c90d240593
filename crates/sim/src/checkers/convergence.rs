//! What must be so some time after the last fault (L3, S3): what is missing, in words.

use std::collections::BTreeSet;

use slimcluster_core::node::io::{MemberState, Stage};
use slimcluster_core::{Index, NodeId};

use crate::process::Process;

/// What all nodes must agree on.
#[derive(Debug, PartialEq, Eq)]
struct View {
    leader: Option<NodeId>,
    voters: Vec<NodeId>,
    alive: BTreeSet<NodeId>,
    applied: Index,
}

/// Why the cluster is not yet as it should be; none when it is. `is_left_out[place]`: the cluster was formed without that node.
///
/// `is_lost[place]`: the node is down for good.
pub fn missing(processes: &[Option<&Process>], is_left_out: &[bool], is_lost: &[bool]) -> Option<String> {
    let mut first: Option<View> = None;
    let ids: BTreeSet<NodeId> = processes.iter().flatten().map(|process| process.node.id()).collect();
    for (place, process) in processes.iter().enumerate() {
        let name = format!("n{}", place + 1);
        let Some(process) = process else {
            if is_lost.get(place) == Some(&true) {
                continue;
            }
            return Some(format!("{name} is down"));
        };
        let status = process.node.status();
        let members = process.node.members();
        let alive = members.iter().filter(|member| member.state == MemberState::Alive).map(|member| member.id);
        let alive: BTreeSet<NodeId> = alive.collect();
        if alive != ids {
            return Some(format!("{name} sees {alive:?} alive, these run: {ids:?}"));
        }
        if is_left_out.get(place) == Some(&true) {
            continue;
        }
        if status.stage != Stage::Working {
            return Some(format!("{name} is not working: {:?}", status.stage));
        }
        if !process.requests.is_empty() {
            return Some(format!("{name} owes the outcome of {} operations", process.requests.len()));
        }
        let view = View {
            leader: status.leader.map(|leader| leader.id),
            voters: status.voters,
            alive,
            applied: process.host.applied(),
        };
        if view.leader.is_none() {
            return Some(format!("{name} knows no leader"));
        }
        match &first {
            None => first = Some(view),
            Some(first) if *first == view => {}
            Some(first) => return Some(format!("views differ: {first:?}, and at {name} {view:?}")),
        }
    }
    None
}
