//! The mirror of what nodes say to each other while a cluster forms.

use serde::{Deserialize, Serialize};

use super::hex;
use super::lists::{Field, Lists};
use super::peer::NAME_BYTES_MAX;
use crate::node::bootstrap::{Claim, Hello, Message};
use crate::storage::Abandoned;
use crate::{ClusterUuid, Durability, NodeId};

/// Ids in one list: far above any first cluster, so that only a malformed list meets it.
const IDS_MAX: usize = 1_024;
/// Sets given up in one message; a node remembers fewer.
const ABANDONED_MAX: usize = 64;

/// The lists of a [`BootstrapRecord`].
pub(super) const LISTS: Lists = Lists(&[
    Field::leading_to(1, HELLO_LISTS),
    Field::leading_to(2, Lists(&[Field::list(2)])),
    Field::leading_to(3, Lists(&[Field { tag: 1, is_list: true, inside: Lists(&[Field::list(2)]) }])),
]);
/// Those of a [`HelloRecord`].
pub(super) const HELLO_LISTS: Lists = Lists(&[Field::list(7)]);

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BootstrapRecord {
    // Exactly one is there.
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    hello: Option<HelloRecord>,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    promises: Option<PromisesRecord>,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    abandoned: Option<AbandonedListRecord>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HelloRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    node_count: u32,
    #[prost(bool, tag = "3")]
    ephemeral: bool,
    #[prost(uint64, tag = "4")]
    revision: u64,
    /// 1 fresh, 2 promised, 3 formed, 4 may only join.
    #[prost(uint32, tag = "5")]
    claim: u32,
    /// When fresh: the set that it sees, if any.
    #[prost(bytes = "vec", tag = "6")]
    #[serde(with = "hex")]
    uuid: Vec<u8>,
    #[prost(message, repeated, tag = "7")]
    members: Vec<IdRecord>,
    #[prost(bool, tag = "8")]
    is_alone: bool,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct PromisesRecord {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    uuid: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    promised: Vec<IdRecord>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
struct AbandonedListRecord {
    #[prost(message, repeated, tag = "1")]
    abandoned: Vec<AbandonedRecord>,
}

// Elements of lists are never without their id, in JSON as in Protobuf: a list of nothing would be short to say and long to hold.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct AbandonedRecord {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    node: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    set: Vec<IdRecord>,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct IdRecord {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(with = "hex")]
    id: Vec<u8>,
}

impl From<&Message> for BootstrapRecord {
    fn from(message: &Message) -> Self {
        match message {
            Message::Hello(hello) => BootstrapRecord { hello: Some(hello.into()), ..Default::default() },
            Message::Promises { uuid, promised } => BootstrapRecord {
                promises: Some(PromisesRecord { uuid: uuid.to_bytes().to_vec(), promised: to_ids(promised) }),
                ..Default::default()
            },
            Message::Abandoned(abandoned) => BootstrapRecord {
                abandoned: Some(AbandonedListRecord {
                    abandoned: abandoned
                        .iter()
                        .map(|a| AbandonedRecord { node: a.node.to_bytes().to_vec(), set: to_ids(&a.set) })
                        .collect(),
                }),
                ..Default::default()
            },
        }
    }
}

impl TryFrom<BootstrapRecord> for Message {
    type Error = ();

    fn try_from(record: BootstrapRecord) -> Result<Self, ()> {
        match (record.hello, record.promises, record.abandoned) {
            (Some(hello), None, None) => Ok(Message::Hello(hello.try_into()?)),
            (None, Some(promises), None) => {
                Ok(Message::Promises { uuid: uuid(promises.uuid)?, promised: ids(promises.promised)? })
            }
            (None, None, Some(list)) if list.abandoned.len() <= ABANDONED_MAX => {
                let abandoned =
                    list.abandoned.into_iter().map(|a| Ok(Abandoned { node: id(a.node)?, set: ids(a.set)? }));
                Ok(Message::Abandoned(abandoned.collect::<Result<_, ()>>()?))
            }
            _ => Err(()),
        }
    }
}

impl From<&Hello> for HelloRecord {
    fn from(hello: &Hello) -> Self {
        let (claim, uuid, members, is_alone) = match &hello.claim {
            Claim::Fresh { sees } => (1, sees.as_ref(), Vec::new(), false),
            Claim::Promised { uuid } => (2, Some(uuid), Vec::new(), false),
            Claim::Formed { uuid, members } => (3, Some(uuid), to_ids(members), false),
            Claim::JoinOnly { uuid, is_alone } => (4, Some(uuid), Vec::new(), *is_alone),
        };
        HelloRecord {
            name: hello.name.clone(),
            node_count: u32::try_from(hello.node_count).unwrap_or(u32::MAX),
            ephemeral: hello.durability == Durability::Ephemeral,
            revision: hello.revision,
            claim,
            uuid: uuid.map(|uuid| uuid.to_bytes().to_vec()).unwrap_or_default(),
            members,
            is_alone,
        }
    }
}

impl TryFrom<HelloRecord> for Hello {
    type Error = ();

    fn try_from(record: HelloRecord) -> Result<Self, ()> {
        if record.name.is_empty() || record.name.len() > NAME_BYTES_MAX {
            return Err(());
        }
        let claim = match record.claim {
            1 if record.uuid.is_empty() => Claim::Fresh { sees: None },
            1 => Claim::Fresh { sees: Some(uuid(record.uuid)?) },
            2 => Claim::Promised { uuid: uuid(record.uuid)? },
            3 => Claim::Formed { uuid: uuid(record.uuid)?, members: ids(record.members)? },
            4 => Claim::JoinOnly { uuid: uuid(record.uuid)?, is_alone: record.is_alone },
            _ => return Err(()),
        };
        Ok(Hello {
            name: record.name,
            node_count: record.node_count as usize,
            durability: if record.ephemeral { Durability::Ephemeral } else { Durability::Fsync },
            revision: record.revision,
            claim,
        })
    }
}

fn to_ids(ids: &[NodeId]) -> Vec<IdRecord> {
    ids.iter().map(|id| IdRecord { id: id.to_bytes().to_vec() }).collect()
}

fn ids(records: Vec<IdRecord>) -> Result<Vec<NodeId>, ()> {
    if records.len() > IDS_MAX {
        return Err(());
    }
    records.into_iter().map(|record| id(record.id)).collect()
}

fn id(bytes: Vec<u8>) -> Result<NodeId, ()> {
    bytes.try_into().map(NodeId::from_bytes).map_err(|_| ())
}

fn uuid(bytes: Vec<u8>) -> Result<ClusterUuid, ()> {
    bytes.try_into().map(ClusterUuid::from_bytes).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn hello(claim: Claim) -> Message {
        let durability = Durability::Ephemeral;
        Message::Hello(Hello { name: "n1".to_owned(), node_count: 3, durability, revision: 2, claim })
    }

    fn hex(message: &Message) -> String {
        BootstrapRecord::from(message).encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // Golden vectors: another build may speak to this one.
    #[test]
    fn messages_have_their_golden_bytes() {
        let (uuid, id) = (ClusterUuid(0x11), NodeId(0xab));
        let (u, i) = ("0".repeat(30) + "11", "0".repeat(30) + "ab");
        let cases = [
            (hello(Claim::Fresh { sees: None }), "0a0c0a026e3110031801200228 01".to_owned()),
            (hello(Claim::Fresh { sees: Some(uuid) }), format!("0a1e0a026e3110031801200228 01 3210{u}")),
            (hello(Claim::Promised { uuid }), format!("0a1e0a026e3110031801200228 02 3210{u}")),
            (
                hello(Claim::Formed { uuid, members: vec![id] }),
                format!("0a320a026e3110031801200228 03 3210{u} 3a120a10{i}"),
            ),
            (hello(Claim::JoinOnly { uuid, is_alone: true }), format!("0a200a026e3110031801200228 04 3210{u} 4001")),
            (Message::Promises { uuid, promised: vec![id] }, format!("12260a10{u} 12120a10{i}")),
            (Message::Abandoned(vec![Abandoned { node: id, set: vec![id] }]), format!("1a280a26 0a10{i} 12120a10{i}")),
        ];
        for (message, bytes) in cases {
            assert_eq!(hex(&message), bytes.replace(' ', ""), "{message:?}");
            let record = BootstrapRecord::from(&message);
            assert_eq!(Message::try_from(record.clone()), Ok(message.clone()));
            let json = serde_json::to_string(&record).unwrap();
            let read: BootstrapRecord = serde_json::from_str(&json).unwrap();
            assert_eq!(Message::try_from(read), Ok(message), "{json}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        assert!(Message::try_from(BootstrapRecord::default()).is_err());
        let nameless = HelloRecord { claim: 1, ..Default::default() };
        assert!(Hello::try_from(nameless.clone()).is_err());
        let unclaimed = HelloRecord { name: "n".to_owned(), ..Default::default() };
        assert!(Hello::try_from(unclaimed.clone()).is_err());
        let short = HelloRecord { claim: 2, uuid: vec![1; 15], ..unclaimed };
        assert!(Hello::try_from(short).is_err());
        let many = PromisesRecord { uuid: vec![0; 16], promised: vec![IdRecord { id: vec![0; 16] }; IDS_MAX + 1] };
        assert!(Message::try_from(BootstrapRecord { promises: Some(many), ..Default::default() }).is_err());
    }
}
