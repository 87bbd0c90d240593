//! A counter that several copies of this program keep together: it survives the death of any one of three, and each answers for all.

mod demo;
mod options;

use std::process::ExitCode;

use axum::{Json, Router, extract::State, http::Method, routing};
use options::Options;
use serde::{Deserialize, Serialize};
use slimcluster::prelude::*;

// 1. The state and what changes it: plain serde types and one method, run in the same order on every node.
#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: i64,
}

#[derive(Serialize, Deserialize)]
enum Command {
    Add(i64),
    Reset,
}

impl StateMachine for Counter {
    type Command = Command;
    type Reply = i64;

    fn apply(&mut self, _: &ApplyContext, command: Command) -> i64 {
        self.value = match command {
            Command::Add(n) => self.value.saturating_add(n),
            Command::Reset => 0,
        };
        self.value
    }
}

// 2. Handlers. `submit` answers when the command is safe on a majority; `read` sees every write that was answered before it.
async fn submit(counter: Replicated<Counter>, command: Command) -> slimcluster::Result<Json<i64>> {
    Ok(Json(counter.submit(command).await?))
}

async fn value(State(counter): State<Replicated<Counter>>) -> slimcluster::Result<Json<i64>> {
    Ok(Json(counter.read(|counter| counter.value).await?))
}

// 3. Assembly: join the cluster, attach the state, serve. Changes are handled on the leader, whichever node they reach.
#[tokio::main]
async fn serve(options: Options) -> slimcluster::Result<()> {
    let builder = Cluster::builder(&options.cluster)
        .node_name(&options.name)
        .transport(options.transport())
        .allow_insecure()
        .serialization(options.serialization)
        .storage(Wal::at(&options.data))
        .membership(Swim::lan())
        .consensus(Raft::nodes(options.nodes))
        .seeds(&options.seeds);
    let cluster = options.advertised(builder).start().await?;
    let counter = cluster.replicate::<Counter>("counter").await?;
    let app = Router::new()
        .route("/counter", routing::get(value))
        .route("/counter/increment", routing::post(|State(counter)| submit(counter, Command::Add(1))))
        .route("/counter/decrement", routing::post(|State(counter)| submit(counter, Command::Add(-1))))
        .route("/counter/reset", routing::post(|State(counter)| submit(counter, Command::Reset)))
        .layer(cluster.delegate_to_leader(|request| request.method() == Method::POST))
        .merge(cluster.ops_router())
        .with_state(counter);
    cluster.serve(options.http, app).await
}

fn main() -> ExitCode {
    options::run(serve)
}
