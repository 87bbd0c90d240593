//! Seam only: the mirror of node::bootstrap's messages; complete it together with the bootstrap.
#![allow(missing_docs)]
use crate::node::bootstrap::{Hello, Message};
use serde::{Deserialize, Serialize};
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BootstrapRecord {}
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HelloRecord {}
impl From<&Message> for BootstrapRecord {
    fn from(_: &Message) -> Self {
        BootstrapRecord {}
    }
}
impl TryFrom<BootstrapRecord> for Message {
    type Error = ();
    fn try_from(_: BootstrapRecord) -> Result<Self, ()> {
        Ok(Message)
    }
}
impl From<&Hello> for HelloRecord {
    fn from(_: &Hello) -> Self {
        HelloRecord {}
    }
}
impl TryFrom<HelloRecord> for Hello {
    type Error = ();
    fn try_from(_: HelloRecord) -> Result<Self, ()> {
        Ok(Hello)
    }
}
