//! What the tests of HTTP in front of a running node share: a service, a bare client, and waiting with a bound.

#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};
use slimcluster::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Counts the requests that were applied.
#[derive(Default, Serialize, Deserialize)]
pub struct Count {
    pub value: i64,
}

impl StateMachine for Count {
    type Command = i64;
    type Reply = i64;

    fn apply(&mut self, _: &ApplyContext, command: i64) -> i64 {
        self.value += command;
        self.value
    }
}

/// The service: `POST /add` on the leader, answered with the new value and the name of the node that handled it; `GET /value` anywhere.
pub async fn app(cluster: &Cluster) -> Router {
    let count = cluster.replicate::<Count>("count").await.unwrap();
    let delegate = cluster.delegate_to_leader(|request| request.method() == "POST");
    Router::new()
        .route("/add", routing::post(add).layer(delegate))
        .route("/value", routing::get(value))
        .merge(cluster.ops_router())
        .with_state(count)
}

async fn add(State(count): State<Replicated<Count>>) -> slimcluster::Result<String> {
    let name = count.cluster().node_name().to_owned();
    Ok(format!("{} {name}", count.submit(1).await?))
}

async fn value(State(count): State<Replicated<Count>>) -> slimcluster::Result<Json<i64>> {
    Ok(Json(count.read(|count| count.value).await?))
}

/// Status, head and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request on a connection of its own.
pub async fn call(to: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Far beyond what anything takes, so that only what never happens fails by it.
pub const LONG: Duration = Duration::from_secs(30);

/// Waits for `future`, and says what for if it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing within {LONG:?}: {what}"),
    }
}
