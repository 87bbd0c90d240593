//! What the tests of the running node share: a small state machine, and waiting with a bound.

#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slimcluster::prelude::*;
use slimcluster::{Leader, StatusWatch};

/// A counter, as in the example.
#[derive(Default, Serialize, Deserialize)]
pub struct Counter {
    pub value: i64,
}

#[derive(Serialize, Deserialize)]
pub enum Command {
    Add(i64),
    Reset,
}

impl StateMachine for Counter {
    type Command = Command;
    type Reply = i64;

    fn apply(&mut self, _: &ApplyContext, command: Command) -> i64 {
        match command {
            Command::Add(n) => self.value += n,
            Command::Reset => self.value = 0,
        }
        self.value
    }
}

/// Far beyond what anything takes, so that only what never happens fails by it.
pub const LONG: Duration = Duration::from_secs(30);

/// Waits for `future`, and says what for if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing within {LONG:?}: {what}"),
    }
}

/// Waits until the node stands where `condition` says.
pub async fn status(cluster: &Cluster, what: &str, condition: impl FnMut(&Status) -> bool) -> Status {
    let mut watch: StatusWatch = cluster.watch_status();
    match tokio::time::timeout(LONG, watch.wait_for(condition)).await {
        Ok(Some(status)) => status,
        Ok(None) => panic!("{} stopped while waiting for {what}", cluster.node_name()),
        Err(_) => {
            panic!("{}: nothing within {LONG:?}: {what}; it stands at {:?}", cluster.node_name(), cluster.status())
        }
    }
}

/// Waits until the node knows a leader.
pub async fn leader(cluster: &Cluster) -> Leader {
    let status = status(cluster, "a leader", |status| status.leader.is_some() && status.ready).await;
    status.leader.expect("just seen")
}

/// Waits until the node sees this many members that are alive, itself included.
pub async fn alive(cluster: &Cluster, count: usize) {
    let seen = cluster.clone();
    let enough =
        move |_: &Status| seen.members().iter().filter(|member| member.state == MemberState::Alive).count() == count;
    status(cluster, &format!("{count} members alive"), enough).await;
}
