//! Seam only: replace this file whole when the bootstrap lands, together with wire/bootstrap.rs (its prost + serde mirror).
#![allow(missing_docs)]
use crate::raft::Configuration;
use crate::storage::Identity;
use crate::{ClusterUuid, Instant, NodeId};
#[derive(Clone, Debug, PartialEq)]
pub struct Message;
#[derive(Clone, Debug, PartialEq)]
pub struct Hello;
#[derive(Clone, Debug)]
pub struct BootstrapOptions;
impl BootstrapOptions {
    pub fn is_ephemeral(&self) -> bool {
        false
    }
}
pub enum Input {
    Timeout,
    IdentityWritten,
    PeerHello { id: NodeId, hello: Hello },
    PeerGone(NodeId),
    Message { from: NodeId, message: Message },
}
pub enum Output {
    Send { to: NodeId, message: Message },
    WriteIdentity(Identity),
    Formed { uuid: ClusterUuid, baseline: Configuration },
    NewIdentity(Identity),
    Warning(String),
}
pub struct Bootstrap;
impl Bootstrap {
    pub fn new(_o: BootstrapOptions, _i: Identity, _s: u64, _n: Instant) -> Self {
        Bootstrap
    }
    pub fn handle(&mut self, _n: Instant, _i: Input) {}
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn waiting(&self) -> String {
        String::new()
    }
    pub fn hello(&self) -> Hello {
        Hello
    }
    pub fn uuid(&self) -> Option<ClusterUuid> {
        None
    }
}
