//! What a node is told about the cluster to form.

use std::time::Duration;

use crate::Durability;

/// What a node is told about the cluster to form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// How many nodes make the first cluster, this one included; at least one.
    pub node_count: usize,
    /// The names of exactly these nodes, where they are known in advance: nobody else is taken in, and nobody waits.
    pub initial_names: Option<Vec<String>>,
    /// This node's name, unique in the cluster.
    pub name: String,
    /// What this node's acknowledgements are worth; equal on all nodes (rule 7).
    pub durability: Durability,
    /// Whether anything may lead to other nodes: seeds, multicast, a static list of others.
    pub has_discovery: bool,
    /// How long the set of eligible nodes must stand unchanged before it is promised (rule 23).
    pub settle: Duration,
    /// How long a member of a promised set may be missing before it is given up (rule 24), and a formed cluster must be silent
    /// before nodes in memory forget it (rule 25).
    pub release: Duration,
    /// How often a node that is not settled says again what it has said.
    pub resend: Duration,
}

impl BootstrapOptions {
    /// The times of the rules, no initial names, some discovery.
    pub fn new(name: impl Into<String>, node_count: usize, durability: Durability) -> Self {
        BootstrapOptions {
            node_count,
            initial_names: None,
            name: name.into(),
            durability,
            has_discovery: true,
            settle: Duration::from_secs(1),
            release: Duration::from_secs(30),
            resend: Duration::from_secs(1),
        }
    }

    /// Whether this node forgets everything when it stops.
    pub fn is_ephemeral(&self) -> bool {
        self.durability == Durability::Ephemeral
    }

    /// How long this node waits with its promise (rules 23, 25).
    pub(super) fn settle_for(&self) -> Duration {
        let alone = self.node_count <= 1 && !self.has_discovery;
        // A single node listens even if its name is given: a cluster of its cluster id may exist already.
        let named = self.node_count > 1 && self.initial_names.is_some();
        if alone || named { Duration::ZERO } else { self.settle }
    }

    /// Whether a node of this name may be part of the first cluster.
    pub(super) fn admits(&self, name: &str) -> bool {
        self.initial_names.as_ref().is_none_or(|names| names.iter().any(|admitted| admitted == name))
    }
}
