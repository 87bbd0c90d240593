//! Clusters over real sockets and real directories, their nodes all in this process.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use common::{Command, Counter, alive, leader, status, within};
use slimcluster::ClusterBuilder;
use slimcluster::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

fn builder(name: &str, data: &Path) -> ClusterBuilder {
    Cluster::builder("test")
        .node_name(name)
        .transport(IpTransport::port(0))
        .membership(Swim::local())
        .consensus(Raft::nodes(3))
        .storage(Wal::at(data.join(name)))
        .handle_signals(false)
}

fn address(cluster: &Cluster) -> String {
    cluster.self_node().address.to_string()
}

async fn three(data: &Path) -> Vec<(Cluster, Replicated<Counter>)> {
    let mut nodes: Vec<(Cluster, Replicated<Counter>)> = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let seeds: Vec<String> = nodes.iter().map(|(cluster, _)| address(cluster)).collect();
        // The first has nobody to ask: the others come to it. Its own address among the seeds would be harmless.
        let cluster = builder(name, data).seeds(seeds).start().await.unwrap();
        let counter = cluster.replicate::<Counter>("counter").await.unwrap();
        nodes.push((cluster, counter));
    }
    nodes
}

/// Three nodes of a fixed list: no SWIM, and nobody to wait for.
async fn three_of_a_list(data: &Path) -> Vec<(Cluster, Replicated<Counter>)> {
    let ports = [free_port().await, free_port().await, free_port().await];
    let mut nodes = Vec::new();
    for (name, port) in ["n1", "n2", "n3"].into_iter().zip(ports) {
        let cluster = builder(name, data)
            .transport(IpTransport::port(port))
            .membership(StaticMembers::new(ports.map(|port| format!("localhost:{port}"))))
            .consensus(Raft::initial_names(["n1", "n2", "n3"]))
            .start()
            .await
            .unwrap();
        let counter = cluster.replicate::<Counter>("counter").await.unwrap();
        nodes.push((cluster, counter));
    }
    nodes
}

#[tokio::test]
async fn a_durable_cluster_survives_its_leader_and_finds_it_again_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let mut nodes = three(data.path()).await;
    for (cluster, counter) in &nodes {
        leader(cluster).await;
        within("a submit", counter.submit(Command::Add(1))).await.unwrap();
    }
    let leads = leader(&nodes[0].0).await.name;
    let at = nodes.iter().position(|(cluster, _)| cluster.node_name() == leads).unwrap();
    let (dead, _) = nodes.remove(at);
    let was_at = address(&dead);
    within("the end", dead.abort()).await;
    drop(dead);
    for (cluster, counter) in &nodes {
        let other = |status: &Status| status.leader.as_ref().is_some_and(|leader| leader.name != leads);
        status(cluster, "another leader", other).await;
        within("a submit", counter.submit(Command::Add(1))).await.unwrap();
    }

    // On another port and without seeds: the directory knows where the others were.
    let back = builder(&leads, data.path()).start().await.unwrap();
    assert_ne!(address(&back), was_at);
    let counter = back.replicate::<Counter>("counter").await.unwrap();
    leader(&back).await;
    assert_eq!(within("a read", counter.read(|counter| counter.value)).await.unwrap(), 5);
    assert_eq!(within("a submit", counter.submit(Command::Add(1))).await.unwrap(), 6);
    alive(&nodes[0].0, 3).await;
    for (cluster, _) in nodes {
        within("a shutdown", cluster.shutdown()).await;
    }
    within("a shutdown", back.shutdown()).await;
}

#[tokio::test]
async fn a_whole_cluster_restarts_with_other_addresses_and_keeps_its_state() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three(data.path()).await;
    within("a submit", nodes[2].1.submit(Command::Add(42))).await.unwrap();
    let id = nodes[0].0.node_id();
    for (cluster, _) in nodes {
        within("a shutdown", cluster.shutdown()).await;
    }
    let nodes = three(data.path()).await;
    assert_eq!(nodes[0].0.node_id(), id, "the directory keeps who the node is");
    for (_, counter) in &nodes {
        assert_eq!(within("a read", counter.read(|counter| counter.value)).await.unwrap(), 42);
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_refused_with_one_sentence() {
    let data = tempfile::tempdir().unwrap();
    let first = builder("n1", data.path()).start().await.unwrap();
    let in_use = builder("n1", data.path()).start().await.unwrap_err().to_string();
    assert!(in_use.contains("in use") && in_use.contains("n1"), "{in_use}");
    within("a shutdown", first.shutdown()).await;

    let other = Cluster::builder("another").node_name("n1").transport(IpTransport::port(0));
    let other = other.consensus(Raft::nodes(1)).storage(Wal::at(data.path().join("n1"))).start().await;
    let other = other.unwrap_err().to_string();
    assert!(other.contains("\"test\"") && other.contains("\"another\""), "{other}");

    std::fs::write(data.path().join("file"), "no directory").unwrap();
    let file = builder("file", data.path()).start().await.unwrap_err().to_string();
    assert!(file.contains("is a file"), "{file}");
}

#[tokio::test]
async fn nodes_find_each_other_by_multicast_alone() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port().await;
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let transport = IpTransport::port(0).multicast_on([239, 1, 1, 78], port);
        nodes.push(builder(name, data.path()).transport(transport).start().await.unwrap());
    }
    for cluster in &nodes {
        leader(cluster).await;
        alive(cluster, 3).await;
    }
}

#[tokio::test]
async fn the_wildcard_advertises_what_a_seed_would_see_unless_told() {
    let data = tempfile::tempdir().unwrap();
    let everywhere = |name| builder(name, data.path()).transport(IpTransport::port(0).bind("0.0.0.0")).allow_insecure();
    let seeds = ["127.0.0.1:9"];
    let cluster = everywhere("n1").seeds(seeds).start().await.unwrap();
    assert!(cluster.self_node().address.ip().is_loopback(), "{}", cluster.self_node().address);
    let told = everywhere("n2").seeds(seeds).advertise("192.0.2.7").start().await.unwrap();
    assert_eq!(told.self_node().address.ip().to_string(), "192.0.2.7");
    let with_port = everywhere("n3").seeds(seeds).advertise("192.0.2.7:4444").start().await.unwrap();
    assert_eq!(address(&with_port), "192.0.2.7:4444");
    let refused = builder("n4", data.path()).transport(IpTransport::port(0).bind("0.0.0.0")).start().await;
    assert!(refused.unwrap_err().to_string().contains(".allow_insecure()"));
}

#[tokio::test]
async fn a_cluster_forms_over_ipv6() {
    let data = tempfile::tempdir().unwrap();
    let transport = || IpTransport::port(0).bind("::1");
    let first = builder("n1", data.path()).transport(transport()).start().await.unwrap();
    let seed = address(&first);
    assert!(seed.starts_with("[::1]:"), "{seed}");
    let second = builder("n2", data.path()).transport(transport()).seeds([seed.clone()]).start().await.unwrap();
    let third = builder("n3", data.path()).transport(transport()).seeds([seed]).start().await.unwrap();
    for cluster in [&first, &second, &third] {
        leader(cluster).await;
        alive(cluster, 3).await;
    }
}

#[tokio::test]
async fn bad_bytes_hurt_nobody() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three_of_a_list(data.path()).await;
    leader(&nodes[0].0).await;
    let target: SocketAddr = nodes[0].0.self_node().address;

    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 7, 64, 1232, 1500, 1501, 9000, 65_507] {
        udp.send_to(&vec![0xa5; length], target).await.unwrap();
    }
    // A length beyond any limit, a frame of garbage, an HTTP request: each ends its own connection only.
    let bad: [&[u8]; 4] = [
        &u32::MAX.to_le_bytes(),
        &[8, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 0, 0, 0],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for bytes in bad {
        let mut stream = TcpStream::connect(target).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: both are an end.
        let _ = within("the end of a bad connection", stream.read_to_end(&mut rest)).await;
    }
    // One that says nothing is closed, too, and one that promises a frame and stops.
    for start in [&b""[..], &[16, 0, 0, 0, 1]] {
        let mut silent = TcpStream::connect(target).await.unwrap();
        silent.write_all(start).await.unwrap();
        let mut rest = Vec::new();
        let _ = within("the end of a silent connection", silent.read_to_end(&mut rest)).await;
    }
    assert_eq!(within("a submit", nodes[0].1.submit(Command::Add(1))).await.unwrap(), 1);
    assert!(!nodes[0].0.is_stopped());
}

#[tokio::test]
async fn a_leader_under_load_acknowledges_each_command_once() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three_of_a_list(data.path()).await;
    leader(&nodes[0].0).await;
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let counter = nodes[client % 3].1.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    counter.submit(Command::Add(1)).await.unwrap();
                }
            })
        })
        .collect();
    let begin = std::time::Instant::now();
    for client in clients {
        within("a client", client).await.unwrap();
    }
    let took = begin.elapsed();
    println!("3200 increments by 64 clients: {:.0}/s", 3200.0 / took.as_secs_f64());
    assert_eq!(within("a read", nodes[1].1.read(|counter| counter.value)).await.unwrap(), 3200);
}

/// A port that is free for datagrams and streams, and stays so: below those that the system hands out by itself, and no other test's.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 600) as u16 * 20;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 600;
        let free =
            TcpListener::bind(("127.0.0.1", port)).await.is_ok() && UdpSocket::bind(("127.0.0.1", port)).await.is_ok();
        if free {
            return port;
        }
    }
}
