//! S1 and S3: what the members make of each other, compared with what is true.

use std::collections::BTreeMap;

use slimcluster_core::NodeId;
use slimcluster_core::node::Node;
use slimcluster_core::swim::{Member, MemberState};

/// The truth about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its process runs.
    Up,
    /// Its process ended without a word, at that time.
    Crashed(u64),
    /// It said good-bye, at that time.
    Left(u64),
}

/// Somebody to be known by the others.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Who.
    pub id: NodeId,
    /// What has become of it.
    pub standing: Standing,
    /// Its running process.
    pub node: Option<&'a Node>,
    /// When that one started.
    pub started: u64,
}

/// The first member whose view of another is not true; none when all views agree with the truth, and so with each other.
pub fn missing(subjects: &[Subject<'_>]) -> Option<String> {
    let selves: Vec<Option<Member>> = subjects.iter().map(|subject| own(subject)).collect();
    let observers = subjects.iter().filter(|observer| observer.standing == Standing::Up);
    observers.filter_map(|observer| Some((observer, observer.node?))).find_map(|(observer, node)| {
        let view: BTreeMap<NodeId, Member> = node.members().into_iter().map(|member| (member.id, member)).collect();
        subjects.iter().zip(&selves).filter(|(subject, _)| subject.id != observer.id).find_map(|(subject, own)| {
            let seen = view.get(&subject.id);
            let is_true = match subject.standing {
                Standing::Up => is_like(own.as_ref(), seen),
                // Whoever came later has perhaps never heard of it.
                Standing::Crashed(at) | Standing::Left(at) if seen.is_none() => observer.started >= at,
                Standing::Crashed(_) => seen.is_some_and(|seen| seen.state == MemberState::Dead),
                Standing::Left(_) => seen.is_some_and(|seen| seen.state == MemberState::Left),
            };
            (!is_true).then(|| format!("{} is {:?}, and {} sees {seen:?}", subject.id, subject.standing, observer.id))
        })
    })
}

/// How many of the members that are up know `subject` as it is, and how many there are.
pub fn knowing(subjects: &[Subject<'_>], subject: &Subject<'_>) -> (usize, usize) {
    let truth = own(subject);
    let others = subjects.iter().filter(|other| other.standing == Standing::Up && other.id != subject.id);
    let seen =
        others.filter_map(|other| other.node).map(|node| node.members().into_iter().find(|m| m.id == subject.id));
    let knows = |seen: &Option<Member>| match subject.standing {
        Standing::Up => is_like(truth.as_ref(), seen.as_ref()),
        Standing::Crashed(_) => seen.as_ref().is_some_and(|seen| seen.state == MemberState::Dead),
        Standing::Left(_) => seen.as_ref().is_some_and(|seen| seen.state == MemberState::Left),
    };
    let seen: Vec<Option<Member>> = seen.collect();
    (seen.iter().filter(|seen| knows(seen)).count(), seen.len())
}

fn own(subject: &Subject<'_>) -> Option<Member> {
    subject.node?.members().into_iter().find(|member| member.id == subject.id)
}

fn is_like(own: Option<&Member>, seen: Option<&Member>) -> bool {
    let (Some(own), Some(seen)) = (own, seen) else { return false };
    seen.state == MemberState::Alive
        && (seen.generation, seen.address, &seen.meta) == (own.generation, own.address, &own.meta)
}
