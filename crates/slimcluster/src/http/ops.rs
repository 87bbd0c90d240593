//! What probes and people ask a node: `/cluster`, `/livez`, `/readyz`.

use std::sync::atomic::Ordering;

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;

use super::answers;
use crate::{Cluster, Member, MemberState, Role, Stage, Status};

impl Cluster {
    /// Routes to merge into an application's:
    ///
    /// * `GET /cluster`: what this node knows of its cluster, as JSON; always 200, also before there is a cluster.
    /// * `GET /livez`: 200 while the process answers.
    /// * `GET /readyz`: 200 when requests should be sent here, else 503 with the reason.
    pub fn ops_router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (cluster, readiness) = (self.clone(), self.clone());
        Router::new()
            .route("/cluster", get(move || async move { Json(ClusterView::of(&cluster)) }))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(move || async move { readyz(&readiness) }))
    }
}

fn readyz(cluster: &Cluster) -> Response {
    let shared = cluster.shared();
    let stopping = shared.ending.load(Ordering::Relaxed);
    match why_not_ready(&cluster.status(), cluster.has_consensus(), stopping) {
        None => "ok\n".into_response(),
        Some(reason) => answers::text(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

/// Why no requests should be sent to this node; none if they should.
fn why_not_ready(status: &Status, has_consensus: bool, stopping: bool) -> Option<String> {
    if let Stage::Stopped { reason } = &status.stage {
        return Some(format!("stopped: {reason}"));
    }
    if stopping {
        return Some("stopping".to_owned());
    }
    if let Some(waiting) = status.waiting() {
        return Some(waiting.to_owned());
    }
    if has_consensus && status.leader.is_none() {
        return Some("no leader is known".to_owned());
    }
    if has_consensus && !status.ready {
        return Some("not caught up with the leader yet".to_owned());
    }
    None
}

/// The answer to `GET /cluster`; its names are a contract with whoever reads it.
#[derive(Serialize)]
struct ClusterView {
    cluster_id: String,
    node: NodeView,
    role: &'static str,
    term: u64,
    leader: Option<String>,
    commit: u64,
    applied: u64,
    waiting: Option<String>,
    members: Vec<MemberView>,
}

#[derive(Serialize)]
struct NodeView {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct MemberView {
    id: String,
    name: String,
    address: String,
    http: Option<String>,
    state: &'static str,
}

impl ClusterView {
    fn of(cluster: &Cluster) -> Self {
        let status = cluster.status();
        ClusterView {
            cluster_id: cluster.cluster_id().to_owned(),
            node: NodeView { id: cluster.node_id().to_string(), name: cluster.node_name().to_owned() },
            role: match status.role {
                Role::Leader => "leader",
                Role::Follower => "follower",
                Role::Candidate => "candidate",
                Role::Learner => "learner",
                Role::None => "none",
            },
            term: status.term.0,
            commit: status.commit_index.0,
            applied: status.applied_index.0,
            waiting: status.waiting().map(str::to_owned),
            leader: status.leader.map(|leader| leader.name),
            members: cluster.members().iter().map(MemberView::of).collect(),
        }
    }
}

impl MemberView {
    fn of(member: &Member) -> Self {
        MemberView {
            id: member.id.to_string(),
            name: member.name.clone(),
            address: member.address.to_string(),
            http: member.http.clone(),
            state: match member.state {
                MemberState::Alive => "alive",
                MemberState::Suspect => "suspect",
                MemberState::Dead => "dead",
                MemberState::Left => "left",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use slimcluster_core::{Index, NodeId, Term};

    use super::*;
    use crate::Leader;

    #[test]
    fn ready_is_who_works_with_a_leader_and_has_caught_up() {
        let leader = Leader { id: NodeId(1), name: "n1".into(), term: Term(3), http: None, is_self: false };
        let working = Status {
            stage: Stage::Working,
            role: Role::Follower,
            term: Term(3),
            leader: Some(leader),
            uuid: None,
            voters: vec![],
            commit_index: Index(0),
            applied_index: Index(0),
            ready: true,
        };
        let why = |status: &Status| why_not_ready(status, true, false);
        assert_eq!(why(&working), None);
        assert_eq!(why_not_ready(&working, true, true).as_deref(), Some("stopping"));
        assert!(why(&Status { ready: false, ..working.clone() }).is_some());
        assert!(why(&Status { leader: None, ..working.clone() }).is_some());
        let waiting = "waiting for 1 of 3: n2".to_owned();
        let forming = Status { stage: Stage::Forming { waiting: waiting.clone() }, ..working.clone() };
        assert_eq!(why(&forming), Some(waiting.clone()));
        assert!(why(&Status { stage: Stage::WaitingForMachine { waiting }, ..working.clone() }).is_some());
        let stopped = Status { stage: Stage::Stopped { reason: "disk".into() }, ..working.clone() };
        assert_eq!(why(&stopped).as_deref(), Some("stopped: disk"));
        // A cluster without consensus has no leader and nothing to catch up with.
        assert_eq!(why_not_ready(&Status { leader: None, ready: false, ..working }, false, false), None);
    }
}
