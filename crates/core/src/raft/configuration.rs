//! Who votes and who only listens: the configuration in the log (thesis chapter 4; rule 17).

use bytes::Bytes;
use prost::Message as _;

use crate::{Durability, NodeId};

/// The standing of a node. A configuration is joint while any node is `Incoming`, `Outgoing` or `Demoting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Standing {
    /// Votes, in both halves of a joint configuration.
    Voter = 1,
    /// Receives the log, does not vote.
    Learner = 2,
    /// Votes in the new half of a joint configuration only.
    Incoming = 3,
    /// Votes in the old half only and leaves with it.
    Outgoing = 4,
    /// Votes in the old half only and becomes a learner.
    Demoting = 5,
}

/// A node as the log knows it: an identity, never an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredNode {
    /// The identity.
    pub id: NodeId,
    /// The human name, unique in a configuration.
    pub name: String,
    /// What the node's acknowledgements are worth (rule 7).
    pub durability: Durability,
    /// Its part in the quorum.
    pub standing: Standing,
}

/// The nodes of a group, sorted by id. Empty only before a group exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    nodes: Vec<ConfiguredNode>,
}

/// Why nodes do not make a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Bytes that no build writes.
    #[error("not a configuration")]
    Malformed,
    /// The same id twice.
    #[error("node {0} stands in the configuration twice")]
    DuplicateId(NodeId),
    /// The same name twice.
    #[error("two nodes of the configuration are named {0:?}")]
    DuplicateName(String),
    /// Nobody could ever commit.
    #[error("the configuration has no voter")]
    NoVoter,
    /// Acknowledgements of different worth (rule 7).
    #[error("the voters differ in durability")]
    MixedDurability,
}

impl Configuration {
    /// Checks and sorts.
    pub fn new(mut nodes: Vec<ConfiguredNode>) -> Result<Self, ConfigurationError> {
        nodes.sort_by_key(|node| node.id);
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ConfigurationError::DuplicateId(pair[0].id));
        }
        let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigurationError::DuplicateName(pair[0].to_owned()));
        }
        let configuration = Configuration { nodes };
        if configuration.voters().next().is_none() {
            return Err(ConfigurationError::NoVoter);
        }
        let mut classes = configuration.nodes.iter().filter(|node| node.standing != Standing::Learner);
        let class = classes.next().map(|node| node.durability);
        if classes.any(|node| Some(node.durability) != class) {
            return Err(ConfigurationError::MixedDurability);
        }
        Ok(configuration)
    }

    /// Every node, sorted by id.
    pub fn nodes(&self) -> &[ConfiguredNode] {
        &self.nodes
    }

    /// The node with this id.
    pub fn get(&self, id: NodeId) -> Option<&ConfiguredNode> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok().map(|at| &self.nodes[at])
    }

    /// Whether `id` stands in it, in whatever standing.
    pub fn contains(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    /// True before a group exists.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// True while a change is under way.
    pub fn is_joint(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.standing, Standing::Incoming | Standing::Outgoing | Standing::Demoting))
    }

    /// The voters of the new half, or of the only one.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().filter(|n| matches!(n.standing, Standing::Voter | Standing::Incoming)).map(|n| n.id)
    }

    /// The voters of the old half; empty unless joint.
    pub fn outgoing_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let joint = self.is_joint();
        self.nodes
            .iter()
            .filter(move |n| joint && !matches!(n.standing, Standing::Incoming | Standing::Learner))
            .map(|n| n.id)
    }

    /// Whether `id` votes in any half.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|node| node.standing != Standing::Learner)
    }

    /// The durable form, as it stands in the log.
    pub fn encode(&self) -> Bytes {
        let nodes = self.nodes.iter().map(|node| NodeRecord {
            id: node.id.to_bytes().to_vec(),
            name: node.name.clone(),
            ephemeral: node.durability == Durability::Ephemeral,
            standing: node.standing as u32,
        });
        ConfigurationRecord { nodes: nodes.collect() }.encode_to_vec().into()
    }

    /// From the durable form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        let record = ConfigurationRecord::decode(bytes).map_err(|_| ConfigurationError::Malformed)?;
        let nodes = record.nodes.into_iter().map(|node| {
            Some(ConfiguredNode {
                id: NodeId::from_bytes(node.id.try_into().ok()?),
                name: node.name,
                durability: if node.ephemeral { Durability::Ephemeral } else { Durability::Fsync },
                standing: match node.standing {
                    1 => Standing::Voter,
                    2 => Standing::Learner,
                    3 => Standing::Incoming,
                    4 => Standing::Outgoing,
                    5 => Standing::Demoting,
                    _ => return None,
                },
            })
        });
        Configuration::new(nodes.collect::<Option<Vec<_>>>().ok_or(ConfigurationError::Malformed)?)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfigurationRecord {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<NodeRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NodeRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    ephemeral: bool,
    #[prost(uint32, tag = "4")]
    standing: u32,
}
