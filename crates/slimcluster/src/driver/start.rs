//! Brings a node up, in an order in which a refusal leaves nothing behind.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use slimcluster_core::machine::Host;
use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{MemberState, Meta, Role};
use slimcluster_core::node::{ConsensusOptions, Membership as CoreMembership, Node, NodeOptions, ProposalOptions};
use slimcluster_core::storage::{Identity, LogSummary, Phase, Recovered};
use slimcluster_core::types::StoreId;
use slimcluster_core::wire::Codec;
use slimcluster_core::{Durability, Generation, HardState, Index, Instant, NodeId, Nonce, Term};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::apply_thread::ApplyThread;
use super::event_loop::{Arrivals, Clock, EventLoop, Io, Workers};
use super::inbox::Request;
use super::shared::{Shared, SharedParts, View};
use super::wal_thread::WalThread;
use crate::consensus::Raft;
use crate::discovery::{Discover, Seeds};
use crate::error::StartError;
use crate::membership::{Membership, StaticMembers};
use crate::serialization::Serialization;
use crate::status::{Member, Stage, Status};
use crate::storage::{OpenOptions, Opened, Storage};
use crate::transport::{BindOptions, Endpoint, Transport};

/// The builder's options, checked.
pub(crate) struct StartOptions {
    pub cluster_id: String,
    pub node_name: String,
    pub transport: Arc<dyn Transport>,
    pub advertise: Option<String>,
    pub advertise_http: Option<String>,
    pub allow_insecure: bool,
    pub serialization: Serialization,
    pub storage: Option<Arc<dyn Storage>>,
    pub membership: Membership,
    pub consensus: Option<Raft>,
    pub seeds: Seeds,
    pub discovery: Vec<Arc<dyn Discover>>,
    pub request_timeout: Duration,
    pub handle_signals: bool,
}

/// Starts a node on a thread of its own.
pub(crate) async fn start(options: StartOptions) -> Result<Arc<Shared>, StartError> {
    let (report, started) = oneshot::channel();
    let name = format!("node-{}", options.node_name);
    std::thread::Builder::new().name(name).spawn(move || run(options, report)).map_err(StartError::Thread)?;
    match started.await {
        Ok(result) => result,
        Err(_) => Err(StartError::State("the node's thread ended while it started".to_owned())),
    }
}

/// The node's thread.
fn run(options: StartOptions, report: oneshot::Sender<Result<Arc<Shared>, StartError>>) {
    // Dropped last, also when this thread panics: nobody may wait for ever for a node that is gone.
    let ended = Ended::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For reading the log back and for resolving names; a name server that hangs must not hold up the former.
        .max_blocking_threads(8)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(report.send(Err(StartError::Thread(error)))),
    };
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        match open(options).await {
            Ok(event_loop) => {
                let shared = Arc::clone(&event_loop.shared);
                if report.send(Ok(Arc::clone(&shared))).is_err() {
                    // Whoever called start() has given up, so nobody could ever stop the node.
                    let _ = shared.inbox.push(Request::Shutdown);
                }
                ended.0.replace(Some(shared));
                event_loop.run().await;
            }
            // If sending fails, nobody waits for the refusal any more.
            Err(error) => drop(report.send(Err(error))),
        }
    });
    // Sockets are released with the tasks that hold them, before anyone is told that they are free.
    drop(local);
    runtime.shutdown_background();
}

/// Tells everybody, when it is dropped, that the node has ended.
#[derive(Default)]
struct Ended(RefCell<Option<Arc<Shared>>>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.inbox.close();
            shared.end_events();
            shared.stopped.send_replace(true);
        }
    }
}

/// Opens the storage, binds, and makes the node.
async fn open(options: StartOptions) -> Result<EventLoop, StartError> {
    let (recovered, writer, reader) = match (&options.consensus, &options.storage) {
        (Some(_), Some(storage)) => {
            let ids = OpenOptions {
                cluster_id: options.cluster_id.clone(),
                node: NodeId(random_u128()?),
                store: StoreId(random_u128()?),
            };
            let Opened { recovered, writer, reader } = storage.open(&ids)?;
            (recovered, Some(writer), Some(reader))
        }
        _ => (nothing_recovered(&options.cluster_id)?, None, None),
    };
    let endpoint = options.transport.bind(BindOptions { allow_insecure: options.allow_insecure }).await?;
    let address = advertised(&options, &endpoint).await?;
    say_what_runs(&options, &endpoint, address);

    let clock = Clock::start();
    let host = Host::new(recovered.identity.node, recovered.identity.generation);
    let shared = Arc::new(make_shared(&options, recovered.identity.node, address));
    let node_options = node_options(&options, &endpoint, address)?;
    let node = Node::new(node_options, recovered, random_u64()?, Instant::ZERO).map_err(StartError::State)?;
    let workers = match (writer, reader) {
        (Some(writer), Some(reader)) => Some(Workers {
            wal: WalThread::start(&options.node_name, writer, Arc::clone(&shared)).map_err(StartError::Thread)?,
            apply: ApplyThread::start(&options.node_name, host, Arc::clone(&shared)).map_err(StartError::Thread)?,
            reader,
        }),
        _ => None,
    };
    if options.handle_signals {
        stop_on_signals(&shared)?;
    }
    let io = Io::new(endpoint, sources(&options), Arrivals::new(Arc::clone(&shared)));
    Ok(EventLoop { node, clock, shared, io, workers })
}

/// A node without consensus is a new one at each start.
fn nothing_recovered(cluster_id: &str) -> Result<Recovered, StartError> {
    Ok(Recovered {
        identity: Identity {
            node: NodeId(random_u128()?),
            store: StoreId(random_u128()?),
            cluster_id: cluster_id.to_owned(),
            generation: Generation(1),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        },
        hard_state: HardState::default(),
        log: LogSummary::default(),
        tail: Vec::new(),
        peers: Vec::new(),
    })
}

fn node_options(options: &StartOptions, endpoint: &Endpoint, address: SocketAddr) -> Result<NodeOptions, StartError> {
    let membership = match &options.membership {
        Membership::Swim(swim) => CoreMembership::Swim(swim.options.clone()),
        Membership::Static(_) => CoreMembership::Static,
    };
    Ok(NodeOptions {
        name: options.node_name.clone(),
        address,
        meta: Meta { http: options.advertise_http.clone(), consensus: options.consensus.is_some() },
        codec: match options.serialization {
            Serialization::Protobuf => Codec::Protobuf,
            Serialization::Json => Codec::Json,
        },
        nonce: Nonce(random_u64()?),
        membership,
        announce: endpoint.multicast.is_some(),
        consensus: match (&options.consensus, &options.storage) {
            (Some(raft), Some(storage)) => {
                let has_discovery = !sources(options).is_empty() || endpoint.multicast.is_some();
                Some(consensus_options(options, raft, storage.durability(), has_discovery))
            }
            _ => None,
        },
        restart_within: RESTART_WITHIN,
    })
}

fn consensus_options(
    options: &StartOptions,
    raft: &Raft,
    durability: Durability,
    has_discovery: bool,
) -> ConsensusOptions {
    let bootstrap = BootstrapOptions::new(options.node_name.clone(), raft.node_count, durability);
    ConsensusOptions {
        raft: raft.options.clone(),
        bootstrap: BootstrapOptions { initial_names: raft.initial_names.clone(), has_discovery, ..bootstrap },
        proposals: ProposalOptions {
            submit_deadline: options.request_timeout,
            leader_wait: options.request_timeout.mul_f64(LEADER_WAIT_SHARE),
            ..ProposalOptions::default()
        },
    }
}

fn sources(options: &StartOptions) -> Vec<Arc<dyn Discover>> {
    let mut sources: Vec<Arc<dyn Discover>> = Vec::new();
    if !options.seeds.addresses().is_empty() {
        sources.push(Arc::new(options.seeds.clone()));
    }
    if let Membership::Static(StaticMembers { addresses }) = &options.membership {
        sources.push(Arc::new(Seeds::new(addresses.iter().cloned())));
    }
    sources.extend(options.discovery.iter().cloned());
    sources
}

fn make_shared(options: &StartOptions, own: NodeId, address: SocketAddr) -> Shared {
    let started = SystemTime::now();
    let self_node = Member {
        id: own,
        name: options.node_name.clone(),
        address,
        http: options.advertise_http.clone(),
        state: MemberState::Alive,
        restarting: false,
        is_self: true,
        joined_at: started,
        last_seen: started,
    };
    let status = Status {
        stage: Stage::Forming { waiting: "starting".to_owned() },
        role: Role::None,
        term: Term(0),
        leader: None,
        uuid: None,
        voters: Vec::new(),
        commit_index: Index(0),
        applied_index: Index(0),
        ready: false,
    };
    let parts = SharedParts {
        cluster_id: options.cluster_id.clone(),
        node_name: options.node_name.clone(),
        consensus: options.consensus.is_some(),
        serialization: options.serialization,
        request_timeout: options.request_timeout,
        started,
        handle_signals: options.handle_signals,
    };
    Shared::new(parts, View { own, status, members: Arc::new([self_node.clone()]), self_node, dropped: Arc::default() })
}

/// Where others reach this node (rule 34).
async fn advertised(options: &StartOptions, endpoint: &Endpoint) -> Result<SocketAddr, StartError> {
    let bound = endpoint.address;
    if let Some(advertise) = &options.advertise {
        return resolve_advertise(advertise, bound).await;
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    // The system knows best by which of its addresses it would speak to a seed.
    for source in sources(options) {
        for seed in source.discover().await.unwrap_or_default() {
            if let Some(ip) = local_address_towards(seed).filter(|ip| bound.is_ipv6() || ip.is_ipv4()) {
                return Ok(SocketAddr::new(ip, bound.port()));
            }
        }
    }
    let any = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip());
    let mut usable: Vec<IpAddr> = any
        .filter(|ip| !ip.is_loopback() && (ip.is_ipv4() || bound.is_ipv6()))
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    usable.sort_by_key(IpAddr::is_ipv6);
    let ip = usable.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
    if usable.len() > 1 {
        tracing::warn!(
            "bound to every interface, and no seed tells which address others reach: advertising {ip}; \
             call .advertise(..) if that is wrong"
        );
    }
    Ok(SocketAddr::new(ip, bound.port()))
}

async fn resolve_advertise(advertise: &str, bound: SocketAddr) -> Result<SocketAddr, StartError> {
    let bare = advertise.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, bound.port()));
    }
    let with_port =
        if advertise.contains(':') { advertise.to_owned() } else { format!("{advertise}:{}", bound.port()) };
    let found = tokio::net::lookup_host(&with_port).await.map_err(|error| {
        StartError::address(
            advertise,
            format!("the advertised name does not resolve ({error}); call .advertise(..) with one that does"),
        )
    })?;
    let usable = |address: &SocketAddr| !address.ip().is_unspecified() && !address.ip().is_multicast();
    let mut usable: Vec<SocketAddr> = found.filter(usable).collect();
    // Of several addresses take one of the family that is bound.
    usable.sort_by_key(|address| address.is_ipv4() != bound.is_ipv4());
    usable.first().copied().ok_or_else(|| {
        StartError::address(
            advertise,
            "the advertised name has no address that others could reach; call .advertise(..) with one that has",
        )
    })
}

/// The local address of a socket connected to `to`; connecting a UDP socket sends nothing.
fn local_address_towards(to: SocketAddr) -> Option<IpAddr> {
    let from: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn say_what_runs(options: &StartOptions, endpoint: &Endpoint, address: SocketAddr) {
    let node = options.node_name.as_str();
    let bound = endpoint.address;
    if !bound.ip().is_loopback() {
        tracing::warn!(
            node,
            "{bound} is reached from other hosts without encryption or proof of identity, as allow_insecure() accepts"
        );
    }
    let cluster = &options.cluster_id;
    tracing::info!(node, "node of cluster {cluster:?}: bound to {bound}, advertised as {address}");
    if let (Some(_), Some(storage)) = (&options.consensus, &options.storage) {
        tracing::info!(node, "its state is kept in {}", storage.describe());
    }
    for source in sources(options) {
        tracing::info!(node, "looking for members by {}", source.describe());
    }
    if let Some(multicast) = &endpoint.multicast {
        tracing::info!(node, "looking for members by multicast group {}", multicast.describe());
    }
}

/// SIGTERM and Ctrl-C stop the node as `shutdown()` does.
fn stop_on_signals(shared: &Arc<Shared>) -> Result<(), StartError> {
    let shared = Arc::clone(shared);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Thread)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Thread)?;
        tokio::task::spawn_local(async move {
            loop {
                let signal = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                stop_on(signal, &shared);
            }
        });
    }
    #[cfg(not(unix))]
    {
        tokio::task::spawn_local(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                stop_on("Ctrl-C", &shared);
            }
        });
    }
    Ok(())
}

fn stop_on(signal: &str, shared: &Shared) {
    if shared.signals_taken.load(Ordering::SeqCst) {
        return;
    }
    tracing::info!(node = shared.node_name, "{signal}: stopping");
    // Refused only when the node has stopped already.
    let _ = shared.inbox.push(Request::Shutdown);
}

fn random_u64() -> Result<u64, StartError> {
    SysRng.try_next_u64().map_err(|error| StartError::State(format!("the system gives no random numbers: {error}")))
}

fn random_u128() -> Result<u128, StartError> {
    Ok(u128::from(random_u64()?) << 64 | u128::from(random_u64()?))
}

// How long the others do not take a stopped node for dead.
const RESTART_WITHIN: Duration = Duration::from_secs(60);
// Of the request timeout: a command that found no leader by then is answered as not committed; the rest is for one that was sent.
const LEADER_WAIT_SHARE: f64 = 0.8;
