//! How a node is described and started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slimcluster_core::swim::{HTTP_BYTES_MAX, NAME_BYTES_MAX, is_plain};

use crate::cluster::Cluster;
use crate::consensus::Raft;
use crate::discovery::{Discover, Seeds, check_address_text};
use crate::driver::{self, StartOptions};
use crate::error::StartError;
use crate::membership::{Membership, Swim};
use crate::serialization::Serialization;
use crate::storage::Storage;
use crate::transport::{IpTransport, Transport};

/// Describes one node of a cluster; made by [`Cluster::builder`], ended by [`ClusterBuilder::start`].
#[must_use = "nothing runs before start()"]
pub struct ClusterBuilder {
    cluster_id: String,
    node_name: Option<String>,
    transport: Arc<dyn Transport>,
    advertise: Option<String>,
    advertise_http: Option<String>,
    allow_insecure: bool,
    serialization: Serialization,
    storage: Option<Arc<dyn Storage>>,
    membership: Membership,
    consensus: Option<Raft>,
    seeds: Seeds,
    discovery: Vec<Arc<dyn Discover>>,
    request_timeout: Duration,
    handle_signals: bool,
}

impl ClusterBuilder {
    pub(crate) fn new(cluster_id: String) -> Self {
        ClusterBuilder {
            cluster_id,
            node_name: None,
            transport: Arc::new(IpTransport::port(PORT_DEFAULT)),
            advertise: None,
            advertise_http: None,
            allow_insecure: false,
            serialization: Serialization::default(),
            storage: None,
            membership: Membership::Swim(Swim::lan()),
            consensus: None,
            seeds: Seeds::new([] as [String; 0]),
            discovery: Vec::new(),
            request_timeout: REQUEST_TIMEOUT_DEFAULT,
            handle_signals: true,
        }
    }

    /// The node's human name, unique in its cluster and the same after a restart: in Kubernetes the pod's name. The host's name unless given.
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = Some(name.into());
        self
    }

    /// What carries the messages. `IpTransport::port(60001)` on loopback unless given.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Where the other nodes reach this one: `HOST` or `HOST:PORT`; the bound port unless given. Needed where the bound address is not the
    /// one that others see, as behind address translation.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Where clients and other nodes reach the HTTP interface of this node: `HOST:PORT`. Members see it; leader delegation uses it.
    pub fn advertise_http(mut self, address: impl Into<String>) -> Self {
        self.advertise_http = Some(address.into());
        self
    }

    /// Accepts that other hosts reach this node without encryption or proof of who they are. Without it an address that is no loopback address
    /// is refused. Only for networks that nobody else can enter.
    pub fn allow_insecure(mut self) -> Self {
        self.allow_insecure = true;
        self
    }

    /// The form of protocol messages: [`Protobuf`](crate::Protobuf) unless given, or [`Json`](crate::Json), readable on the wire, which also
    /// writes commands as JSON.
    pub fn serialization(mut self, serialization: impl Into<Serialization>) -> Self {
        self.serialization = serialization.into();
        self
    }

    /// Where the node keeps what it must not forget: `Wal::at("directory")`, or `Memory`. Needed with consensus, and without effect otherwise.
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// How the node knows its fellow members: [`Swim::lan`] unless given, or a fixed list by [`StaticMembers`](crate::StaticMembers).
    pub fn membership(mut self, membership: impl Into<Membership>) -> Self {
        self.membership = membership.into();
        self
    }

    /// Takes part in consensus: a leader, and replicated state. Without it the cluster has members and events only.
    pub fn consensus(mut self, raft: Raft) -> Self {
        self.consensus = Some(raft);
        self
    }

    /// Looks for members at these addresses, `HOST:PORT` each. Names are resolved again at every try, the own address among them is harmless.
    pub fn seeds<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        let all = self.seeds.addresses().iter().cloned().chain(addresses.into_iter().map(Into::into));
        self.seeds = Seeds::new(all.collect::<Vec<_>>());
        self
    }

    /// Looks for members by this source, too.
    pub fn discovery(mut self, source: impl Discover) -> Self {
        self.discovery.push(Arc::new(source));
        self
    }

    /// How long a submit or a read may take before it is answered that it did not happen, or that its outcome is unknown. 5 s unless given.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Whether SIGTERM and Ctrl-C stop the node as [`Cluster::shutdown`] does; they do unless told otherwise. The process itself ends when its
    /// `main` does: let it wait for [`Cluster::stopped`].
    pub fn handle_signals(mut self, handle: bool) -> Self {
        self.handle_signals = handle;
        self
    }

    /// Starts the node. Returns once it is bound and its storage is open; it then forms, finds or joins its cluster by itself, which
    /// [`Cluster::status`] tells.
    ///
    /// # Errors
    /// One sentence that names the value and the remedy. Nothing runs.
    pub async fn start(self) -> Result<Cluster, StartError> {
        let options = self.validated()?;
        driver::start(options).await.map(Cluster::new)
    }

    fn validated(self) -> Result<StartOptions, StartError> {
        check_text("cluster id", &self.cluster_id, "give the cluster a name that all its nodes share")?;
        let node_name = match self.node_name {
            Some(name) => name,
            None => host_name().ok_or_else(|| {
                StartError::option("node_name", "", "this host has no name that could be read; call .node_name(..)")
            })?,
        };
        check_text("node_name", &node_name, "give each node of the cluster a name of its own")?;
        self.transport.validate()?;
        self.membership.validate()?;
        self.seeds.validate()?;
        if let Some(raft) = &self.consensus {
            raft.validate(&node_name)?;
            if self.storage.is_none() {
                return Err(StartError::option(
                    "storage",
                    "none",
                    "consensus needs storage: call .storage(Wal::at(directory)), or .storage(Memory) to keep nothing",
                ));
            }
        }
        if self.discovery.len() > DISCOVERY_MAX {
            return Err(StartError::option(
                "discovery",
                self.discovery.len(),
                format!("at most {DISCOVERY_MAX} sources"),
            ));
        }
        if let Some(advertise) = &self.advertise {
            check_advertise(advertise)?;
        }
        if let Some(http) = &self.advertise_http {
            check_http(http)?;
        }
        if self.request_timeout < REQUEST_TIMEOUT_MIN || self.request_timeout > REQUEST_TIMEOUT_MAX {
            return Err(StartError::option(
                "request_timeout",
                format!("{:?}", self.request_timeout),
                format!("it must be between {REQUEST_TIMEOUT_MIN:?} and {REQUEST_TIMEOUT_MAX:?}"),
            ));
        }
        Ok(StartOptions {
            cluster_id: self.cluster_id,
            node_name,
            transport: self.transport,
            advertise: self.advertise,
            advertise_http: self.advertise_http,
            allow_insecure: self.allow_insecure,
            serialization: self.serialization,
            storage: self.storage,
            membership: self.membership,
            consensus: self.consensus,
            seeds: self.seeds,
            discovery: self.discovery,
            request_timeout: self.request_timeout,
            handle_signals: self.handle_signals,
        })
    }
}

impl fmt::Debug for ClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("cluster_id", &self.cluster_id)
            .field("node_name", &self.node_name)
            .finish_non_exhaustive()
    }
}

/// Names travel in every datagram's room for updates, hence short; control characters would garble logs and the terminal.
fn check_text(option: &'static str, text: &str, remedy: &str) -> Result<(), StartError> {
    let problem = if text.trim().is_empty() {
        "it is empty".to_owned()
    } else if text.len() > NAME_BYTES_MAX {
        format!("its {} bytes are more than {NAME_BYTES_MAX}", text.len())
    } else if !is_plain(text, NAME_BYTES_MAX) {
        "it holds control characters, quotes or backslashes".to_owned()
    } else {
        return Ok(());
    };
    Err(StartError::option(option, text, format!("{problem}; {remedy}")))
}

/// `HOST:PORT`, short enough to travel with every member's record.
pub(crate) fn check_http(address: &str) -> Result<(), StartError> {
    check_address_text("advertise_http", address)?;
    if is_plain(address, HTTP_BYTES_MAX) {
        return Ok(());
    }
    Err(StartError::option("advertise_http", address, format!("give HOST:PORT of at most {HTTP_BYTES_MAX} bytes")))
}

/// `HOST` or `HOST:PORT`, where HOST may be a bare IPv6 address when no port is given.
fn check_advertise(advertise: &str) -> Result<(), StartError> {
    let bare = advertise.trim_start_matches('[').trim_end_matches(']');
    let problem = match bare.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
            "nobody can reach a node there; give an address of this host"
        }
        Ok(_) => return Ok(()),
        Err(_) if advertise.contains(':') => return check_address_text("advertise", advertise),
        Err(_) if advertise.is_empty() || advertise.len() > 255 || advertise.contains(char::is_whitespace) => {
            "give HOST or HOST:PORT as other nodes reach this one"
        }
        Err(_) => return Ok(()),
    };
    Err(StartError::option("advertise", advertise, problem))
}

/// The name of this host, as the system tells it.
fn host_name() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| std::env::var("HOSTNAME").ok())?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

const PORT_DEFAULT: u16 = 60001;
const DISCOVERY_MAX: usize = 16;
const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(10);
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, StaticMembers};

    fn builder() -> ClusterBuilder {
        ClusterBuilder::new("c".to_owned()).node_name("n1")
    }

    fn problem(builder: ClusterBuilder) -> String {
        builder.validated().err().expect("refused").to_string()
    }

    #[test]
    fn absurd_options_are_refused_with_one_sentence_that_names_them() {
        assert!(builder().validated().is_ok());
        assert!(problem(ClusterBuilder::new(String::new())).contains("cluster id \"\" is refused: it is empty"));
        assert!(problem(ClusterBuilder::new("x".repeat(200))).contains("200 bytes"));
        assert!(problem(builder().node_name("a\nb")).contains("control characters"));
        assert!(problem(builder().seeds(["n1"])).contains("seeds \"n1\" is refused"));
        assert!(problem(builder().membership(StaticMembers::new(["x"]))).contains("StaticMembers \"x\""));
        assert!(problem(builder().consensus(Raft::nodes(3))).contains("Wal::at"));
        assert!(builder().consensus(Raft::nodes(3)).storage(Memory).validated().is_ok());
        assert!(problem(builder().consensus(Raft::nodes(0)).storage(Memory)).contains("Raft::nodes \"0\""));
        assert!(problem(builder().advertise("0.0.0.0")).contains("advertise \"0.0.0.0\""));
        assert!(problem(builder().advertise("host:0")).contains("advertise \"host:0\""));
        assert!(builder().advertise("[::1]").validated().is_ok());
        assert!(problem(builder().advertise_http("8080")).contains("HOST:PORT"));
        assert!(problem(builder().request_timeout(Duration::ZERO)).contains("request_timeout"));
        assert!(problem(builder().transport(IpTransport::port(1).bind(""))).contains("bind"));
        assert!(problem(builder().transport(IpTransport::port(1).multicast([10, 0, 0, 1]))).contains("multicast"));
    }
}
