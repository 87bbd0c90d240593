//! The options of consensus.

use std::ops::Range;
use std::time::Duration;

use slimcluster_core::raft;

use crate::error::StartError;

/// Consensus by Raft: who founds the cluster, and how patient its nodes are with each other.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) node_count: usize,
    pub(crate) initial_names: Option<Vec<String>>,
    pub(crate) options: raft::Options,
}

impl Raft {
    /// A cluster that is founded once by `count` nodes: 1, 3 or 5. It forms when all of them are in touch for the first time; after that the
    /// number has no meaning any more. Timing is that of a local network.
    pub fn nodes(count: usize) -> Self {
        Raft { node_count: count, initial_names: None, options: raft::Options::lan() }
    }

    /// A cluster that is founded once by exactly the nodes of these names: the certain way, and the quickest.
    pub fn initial_names<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Raft { node_count: names.len(), initial_names: Some(names), options: raft::Options::lan() }
    }

    /// The timing of nodes far apart: heartbeats every 250 ms, election timeouts of 1 to 2 s.
    #[must_use]
    pub fn wan(mut self) -> Self {
        let wan = raft::Options::wan();
        self.options.heartbeat_interval = wan.heartbeat_interval;
        self.options.election_timeout_min = wan.election_timeout_min;
        self.options.election_timeout_max = wan.election_timeout_max;
        self
    }

    /// How often a leader says that it is there. Default 50 ms.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.options.heartbeat_interval = interval;
        self
    }

    /// How long a node waits for a leader before it campaigns: drawn anew from this range each time. Default 200 to 400 ms. Smaller
    /// notices a dead leader sooner, larger bears a slower network.
    #[must_use]
    pub fn election_timeout(mut self, range: Range<Duration>) -> Self {
        self.options.election_timeout_min = range.start;
        self.options.election_timeout_max = range.end;
        self
    }

    pub(crate) fn validate(&self, node_name: &str) -> Result<(), StartError> {
        if let Some(names) = &self.initial_names {
            let mut sorted: Vec<&String> = names.iter().collect();
            sorted.sort();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                let problem = "it stands there twice; give each node a name of its own";
                return Err(StartError::option("initial_names", pair[0], problem));
            }
            if !names.iter().any(|name| name == node_name) {
                return Err(StartError::option(
                    "initial_names",
                    names.join(", "),
                    format!("this node's name {node_name:?} is not among them; add it, or correct .node_name(..)"),
                ));
            }
        }
        if self.node_count == 0 || self.node_count > NODES_MAX {
            return Err(StartError::option(
                "Raft::nodes",
                self.node_count,
                format!("a cluster is founded by 1 to {NODES_MAX} nodes; 3 or 5 is usual"),
            ));
        }
        self.options.clone().validated().map(drop).map_err(|error| StartError::Timing(error.to_string()))
    }
}

/// More voters than this make every commit slower and the cluster no safer.
const NODES_MAX: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(raft: Raft) -> String {
        raft.validate("n1").unwrap_err().to_string()
    }

    #[test]
    fn absurd_options_are_refused_with_a_sentence() {
        assert!(Raft::nodes(3).validate("n1").is_ok());
        assert!(Raft::nodes(3).wan().validate("n1").is_ok());
        assert!(Raft::initial_names(["n1", "n2"]).validate("n1").is_ok());
        assert!(problem(Raft::nodes(0)).contains("1 to 31"));
        assert!(problem(Raft::nodes(1000)).contains("1 to 31"));
        assert!(problem(Raft::initial_names(["n2", "n3"])).contains("\"n1\" is not among them"));
        assert!(problem(Raft::initial_names(["n1", "n2", "n2"])).contains("twice"));
        assert!(problem(Raft::nodes(3).heartbeat_interval(Duration::ZERO)).contains("heartbeat_interval is 0ns"));
        let ms = Duration::from_millis;
        assert!(problem(Raft::nodes(3).election_timeout(ms(400)..ms(400))).contains("election_timeout_max"));
        assert!(problem(Raft::nodes(3).election_timeout(ms(60)..ms(400))).contains("election_timeout_min"));
    }
}
