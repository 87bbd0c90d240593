//! Three nodes in one process, each with real HTTP in front.
#![cfg(feature = "http")]

mod http_common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_common::{app, call, within};
use serde_json::Value;
use slimcluster::prelude::*;
use slimcluster::{MemoryNetwork, Role};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

struct Served {
    cluster: Cluster,
    http: SocketAddr,
    serving: JoinHandle<slimcluster::Result<()>>,
}

async fn serve(network: &MemoryNetwork, port: u16, nodes: usize) -> Served {
    let cluster = Cluster::builder("test")
        .node_name(format!("n{port}"))
        .transport(network.port(port))
        .seeds(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
        .membership(Swim::local())
        .consensus(Raft::nodes(nodes))
        .storage(Memory)
        .handle_signals(false)
        .start()
        .await
        .unwrap();
    let app = app(&cluster).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let server = cluster.clone();
    let serving = tokio::spawn(async move { server.serve_on(listener, app).await });
    Served { cluster, http, serving }
}

async fn view(node: &Served) -> Value {
    let answer = call(node.http, "GET", "/cluster").await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits until `node` knows a leader other than `not`, with an HTTP address, and is ready.
async fn leader(node: &Served, not: Option<&str>) -> String {
    let mut watch = node.cluster.watch_status();
    let known = |status: &Status| {
        status.ready && status.leader.as_ref().is_some_and(|l| l.http.is_some() && Some(l.name.as_str()) != not)
    };
    within("a leader", watch.wait_for(known)).await.unwrap().leader.unwrap().name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_answers_for_the_cluster_before_it_exists_and_after_its_leader_died() {
    let network = MemoryNetwork::new();
    let first = serve(&network, 1, 3).await;

    // No cluster yet.
    let seen = view(&first).await;
    let keys: Vec<&String> = seen.as_object().unwrap().keys().collect();
    let expected = ["applied", "cluster_id", "commit", "leader", "members", "node", "role", "term", "waiting"];
    assert_eq!(keys, expected);
    assert_eq!((&seen["cluster_id"], &seen["role"], &seen["leader"]), (&"test".into(), &"none".into(), &Value::Null));
    assert_eq!((&seen["term"], &seen["commit"], &seen["applied"]), (&0.into(), &0.into(), &0.into()));
    assert!(seen["waiting"].is_string(), "{seen}");
    assert_eq!(seen["node"]["name"], "n1");
    let id = seen["node"]["id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(seen["members"][0]["id"], id);
    assert_eq!(
        (&seen["members"][0]["state"], &seen["members"][0]["address"]),
        (&"alive".into(), &"127.0.0.1:1".into())
    );
    assert_eq!(call(first.http, "GET", "/livez").await.unwrap().status, 200);
    let ready = call(first.http, "GET", "/readyz").await.unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body.trim(), seen["waiting"].as_str().unwrap());
    let begin = Instant::now();
    let (write, read) = tokio::join!(call(first.http, "POST", "/add"), call(first.http, "GET", "/value"));
    for refused in [write.unwrap(), read.unwrap()] {
        assert!(refused.status == 503 && refused.head.contains("retry-after: 1"), "{refused:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());

    // Three nodes: whoever is asked, the leader handles it.
    let mut nodes = vec![first, serve(&network, 2, 3).await, serve(&network, 3, 3).await];
    let name = leader(&nodes[0], None).await;
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(leader(node, None).await, name);
        let answer = within("an answer", call(node.http, "POST", "/add")).await.unwrap();
        assert_eq!((answer.status, answer.body), (200, format!("{} {name}", number + 1)));
        assert!(!answer.head.contains("slimcluster-"), "{}", answer.head);
        assert_eq!(call(node.http, "GET", "/value").await.unwrap().body, (number + 1).to_string());
        assert_eq!(call(node.http, "GET", "/readyz").await.unwrap().status, 200);
        assert_eq!(call(node.http, "GET", "/add").await.unwrap().status, 405);
    }
    let seen = view(&nodes[2]).await;
    assert_eq!((&seen["leader"], seen["members"].as_array().unwrap().len()), (&name.clone().into(), 3));
    let mut advertised: Vec<&str> = Vec::new();
    advertised.extend(seen["members"].as_array().unwrap().iter().filter_map(|member| member["http"].as_str()));
    assert_eq!(advertised, nodes.iter().map(|node| node.http.to_string()).collect::<Vec<_>>());

    // The leader dies; what the others are asked meanwhile is answered honestly, and then they go on.
    let at = nodes.iter().position(|node| node.cluster.node_name() == name).unwrap();
    let dead = nodes.remove(at);
    dead.cluster.abort().await;
    within("the end of serving", dead.serving).await.unwrap().unwrap();
    let (mut counted, mut unknown) = (3, 0);
    within("an increment", async {
        loop {
            let answer = call(nodes[0].http, "POST", "/add").await.unwrap();
            match answer.status {
                200 => break,
                503 => {}
                504 => unknown += 1,
                _ => panic!("{answer:?}"),
            }
        }
    })
    .await;
    counted += 1;
    leader(&nodes[1], Some(&name)).await;
    let value: i64 = within("a value", call(nodes[1].http, "GET", "/value")).await.unwrap().body.parse().unwrap();
    assert!((counted..=counted + unknown).contains(&value), "{value} after {counted} and {unknown} unknown");
    assert_eq!(nodes.iter().filter(|node| node.cluster.status().role == Role::Leader).count(), 1);
    for node in nodes {
        node.cluster.shutdown().await;
        within("the end of serving", node.serving).await.unwrap().unwrap();
    }
}
