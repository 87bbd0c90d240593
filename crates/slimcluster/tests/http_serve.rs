//! Serving ends: within ten seconds, whatever clients do, and with the answers that are due.
#![cfg(all(feature = "http", unix))]

mod http_common;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing;
use http_common::{app, call, within};
use slimcluster::prelude::*;
use slimcluster::{ClusterBuilder, Error, MemoryNetwork};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

fn builder(network: &MemoryNetwork) -> ClusterBuilder {
    let builder = Cluster::builder("test").node_name("n1").transport(network.port(1)).seeds(["127.0.0.1:2"]);
    builder.membership(Swim::local()).storage(Memory)
}

/// The signal goes to the whole process, so that only this test may listen for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_requests_end_and_then_stops_the_node() {
    let cluster = builder(&MemoryNetwork::new()).consensus(Raft::nodes(1)).start().await.unwrap();
    let (arrived, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (arrives, waits) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let slow = || async move {
        arrives.add_permits(1);
        waits.notified().await;
        "done"
    };
    let app = app(&cluster).await.route("/slow", routing::get(slow));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let server = cluster.clone();
    let serving = tokio::spawn(async move { server.serve_on(listener, app).await });
    assert_eq!(within("an increment", call(http, "POST", "/add")).await.unwrap().body, "1 n1");

    let request = tokio::spawn(call(http, "GET", "/slow"));
    let _ = within("the handler", arrived.acquire()).await.unwrap();
    let begin = Instant::now();
    let sent = Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(sent.success());
    within("no new connections", async { while TcpStream::connect(http).await.is_ok() {} }).await;
    assert!(!cluster.is_stopped(), "the node works while its requests do");
    go_on.notify_one();
    assert_eq!(within("the answer", request).await.unwrap().unwrap().body, "done");
    within("the end", serving).await.unwrap().unwrap();
    assert!(cluster.is_stopped());
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_keeps_a_node_from_stopping() {
    // One of three: there is no quorum, and never will be.
    let cluster = builder(&MemoryNetwork::new()).consensus(Raft::nodes(3)).handle_signals(false).start().await.unwrap();
    let app = app(&cluster).await.route("/never", routing::get(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let server = cluster.clone();
    let serving = tokio::spawn(async move { server.serve_on(listener, app).await });

    let silent = TcpStream::connect(http).await.unwrap();
    let mut half = TcpStream::connect(http).await.unwrap();
    half.write_all(b"GET /livez HTT").await.unwrap();
    let mut idle = TcpStream::connect(http).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(within("an answer", idle.read(&mut [0; 1024])).await.unwrap() > 0);
    let never = tokio::spawn(call(http, "GET", "/never"));
    let read = tokio::spawn(call(http, "GET", "/value"));

    let begin = Instant::now();
    cluster.shutdown().await;
    within("the end", serving).await.unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(read.await.unwrap().unwrap().status, 503, "who waits for a quorum gets an answer");
    assert!(never.await.unwrap().is_err(), "who waits for ever is cut off");
    drop((silent, half, idle));
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_named_and_stops_the_node() {
    let cluster = builder(&MemoryNetwork::new()).consensus(Raft::nodes(1)).handle_signals(false).start().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let refused = cluster.serve(address, axum::Router::new()).await;
    let Err(error @ Error::Io(_)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(&format!("the HTTP address {address} cannot be bound")), "{error}");
    assert!(cluster.is_stopped());
}
