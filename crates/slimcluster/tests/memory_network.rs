//! Clusters whose nodes all live in this process, over a network that is only memory.

mod common;

use bytes::Bytes;
use common::{Command, Counter, alive, leader, status, within};
use slimcluster::prelude::*;
use slimcluster::{ClusterBuilder, Codec, CodecError, MemoryNetwork, Refused, Serialization, StartError};

fn builder(network: &MemoryNetwork, port: u16) -> ClusterBuilder {
    Cluster::builder("test")
        .node_name(format!("n{port}"))
        .transport(network.port(port))
        .seeds(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
        .membership(Swim::local())
        .handle_signals(false)
}

async fn three(network: &MemoryNetwork) -> Vec<(Cluster, Replicated<Counter>)> {
    let mut nodes = Vec::new();
    for port in 1..=3 {
        let cluster = builder(network, port).consensus(Raft::nodes(3)).storage(Memory).start().await.unwrap();
        let counter = cluster.replicate::<Counter>("counter").await.unwrap();
        nodes.push((cluster, counter));
    }
    nodes
}

#[tokio::test]
async fn a_cluster_of_one_works_without_anybody() {
    let network = MemoryNetwork::new();
    let cluster = Cluster::builder("alone")
        .node_name("n1")
        .transport(network.port(1))
        .consensus(Raft::nodes(1))
        .storage(Memory)
        .handle_signals(false)
        .start()
        .await
        .unwrap();
    let counter = cluster.replicate::<Counter>("counter").await.unwrap();
    assert_eq!(within("a submit", counter.submit(Command::Add(2))).await.unwrap(), 2);
    assert_eq!(within("a read", counter.read(|counter| counter.value)).await.unwrap(), 2);
    assert!(cluster.is_leader());
    assert_eq!(cluster.self_node().name, "n1");
    within("a shutdown", cluster.shutdown()).await;
    assert!(cluster.is_stopped());
    assert_eq!(counter.submit(Command::Add(1)).await, Err(SubmitError::NotCommitted(Refused::ShuttingDown)));
    assert_eq!(counter.read(|counter| counter.value).await, Err(ReadError::ShuttingDown));
    assert_eq!(counter.read_local(|counter| counter.value), Ok(2), "what was applied can still be looked at");
}

#[tokio::test]
async fn three_nodes_form_and_every_node_submits_and_reads() {
    let nodes = three(&MemoryNetwork::new()).await;
    for (cluster, _) in &nodes {
        leader(cluster).await;
        alive(cluster, 3).await;
    }
    for (expected, (_, counter)) in nodes.iter().enumerate() {
        assert_eq!(within("a submit", counter.submit(Command::Add(1))).await.unwrap(), expected as i64 + 1);
        assert_eq!(within("a read", counter.read(|counter| counter.value)).await.unwrap(), expected as i64 + 1);
    }
    assert_eq!(nodes.iter().filter(|(cluster, _)| cluster.is_leader()).count(), 1);
    for (cluster, _) in &nodes {
        within("a shutdown", cluster.shutdown()).await;
    }
}

#[tokio::test]
async fn the_others_go_on_when_the_leader_dies() {
    let mut nodes = three(&MemoryNetwork::new()).await;
    let leader_name = leader(&nodes[0].0).await.name;
    within("a submit", nodes[0].1.submit(Command::Add(5))).await.unwrap();
    let at = nodes.iter().position(|(cluster, _)| cluster.node_name() == leader_name).unwrap();
    let (dead, _) = nodes.remove(at);
    within("the end", dead.abort()).await;
    for (cluster, counter) in &nodes {
        status(cluster, "another leader", |status| {
            status.leader.as_ref().is_some_and(|leader| leader.name != leader_name)
        })
        .await;
        assert_eq!(within("a read", counter.read(|counter| counter.value)).await.unwrap(), 5);
    }
    assert_eq!(within("a submit", nodes[1].1.submit(Command::Add(1))).await.unwrap(), 6);
}

#[tokio::test]
async fn without_a_quorum_submits_and_reads_are_answered_in_time() {
    let network = MemoryNetwork::new();
    let timeout = std::time::Duration::from_millis(500);
    let cluster =
        builder(&network, 1).consensus(Raft::nodes(3)).storage(Memory).request_timeout(timeout).start().await.unwrap();
    let counter = cluster.replicate::<Counter>("counter").await.unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(counter.submit(Command::Add(1)).await, Err(SubmitError::NotCommitted(Refused::NoLeader)));
    assert_eq!(counter.read(|counter| counter.value).await, Err(ReadError::NoLeader));
    assert!(begin.elapsed() < timeout * 6, "{:?}", begin.elapsed());
    assert!(matches!(cluster.status().stage, Stage::Forming { .. }), "{:?}", cluster.status());
    assert!(cluster.status().waiting().is_some());
    // Stopping needs no quorum.
    within("a shutdown", cluster.shutdown()).await;
}

#[tokio::test]
async fn without_consensus_there_are_members_and_events_only() {
    let network = MemoryNetwork::new();
    let first = builder(&network, 1).start().await.unwrap();
    let mut events = first.events();
    let second = builder(&network, 2).advertise_http("127.0.0.1:8080").start().await.unwrap();
    alive(&first, 2).await;
    alive(&second, 2).await;
    let joined = within("a joined event", async {
        loop {
            if let Some(Event { kind: EventKind::Joined(member), .. }) = events.next().await {
                return member;
            }
        }
    })
    .await;
    assert_eq!((joined.name.as_str(), joined.is_self), ("n2", false));
    assert_eq!(first.other_members()[0].http.as_deref(), Some("127.0.0.1:8080"));
    assert!(first.replicate::<Counter>("counter").await.is_err());
    assert!(first.leader().is_none());
    within("leaving", second.leave_cluster()).await.unwrap();
    let left = within("a left event", async {
        while let Some(event) = events.next().await {
            if let EventKind::Left(member) = event.kind {
                return Some(member.name);
            }
        }
        None
    });
    assert_eq!(left.await.as_deref(), Some("n2"));
    within("a shutdown", first.shutdown()).await;
    within("the end of the events", async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn static_members_need_no_swim() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for port in 1..=3u16 {
        let cluster = Cluster::builder("test")
            .node_name(format!("n{port}"))
            .transport(network.port(port))
            .membership(StaticMembers::new(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]))
            .consensus(Raft::initial_names(["n1", "n2", "n3"]))
            .storage(Memory)
            .serialization(slimcluster::Json)
            .advertise_http(format!("127.0.0.1:808{port}"))
            .handle_signals(false)
            .start()
            .await
            .unwrap();
        let counter = cluster.replicate::<Counter>("counter").await.unwrap();
        nodes.push((cluster, counter));
    }
    for (expected, (cluster, counter)) in nodes.iter().enumerate() {
        leader(cluster).await;
        assert_eq!(within("a submit", counter.submit(Command::Add(1))).await.unwrap(), expected as i64 + 1);
        alive(cluster, 3).await;
        let others = cluster.other_members();
        assert!(others.iter().all(|member| member.http.is_some()), "links carry what SWIM would: {others:?}");
    }
}

/// Applied by the event loop itself.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Quick {
    value: i64,
    threads: std::collections::BTreeSet<String>,
}

impl StateMachine for Quick {
    type Command = i64;
    type Reply = i64;
    const INLINE: bool = true;

    fn apply(&mut self, _: &ApplyContext, command: i64) -> i64 {
        self.value += command;
        self.threads.extend(std::thread::current().name().map(str::to_owned));
        self.value
    }
}

#[tokio::test]
async fn inline_machines_are_applied_by_the_event_loop() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for port in 1..=3 {
        let cluster = builder(&network, port).consensus(Raft::nodes(3)).storage(Memory).start().await.unwrap();
        let quick = cluster.replicate::<Quick>("quick").await.unwrap();
        nodes.push((cluster, quick));
    }
    for round in 1..=100 {
        let (_, quick) = &nodes[round % 3];
        assert_eq!(within("a submit", quick.submit(1)).await.unwrap(), round as i64);
    }
    for (_, quick) in &nodes {
        let (value, threads) =
            within("a read", quick.read(|quick| (quick.value, quick.threads.clone()))).await.unwrap();
        assert_eq!(value, 100);
        // What was committed while the machine was being attached may have been applied on the thread.
        assert!(threads.iter().any(|name| !name.starts_with("apply-")), "{threads:?}");
    }
}

#[tokio::test]
async fn a_voter_cannot_leave_yet() {
    let nodes = three(&MemoryNetwork::new()).await;
    leader(&nodes[0].0).await;
    assert_eq!(nodes[0].0.leave_cluster().await, Err(slimcluster::LeaveError::Voter));
    assert!(!nodes[0].0.is_stopped());
}

#[tokio::test]
async fn dropping_every_handle_stops_the_node() {
    let network = MemoryNetwork::new();
    let cluster = builder(&network, 1).start().await.unwrap();
    let mut events = cluster.events();
    let taken = builder(&network, 1).start().await.expect_err("the port is taken");
    assert!(matches!(taken, StartError::Address { .. }), "{taken}");
    drop(cluster);
    within("the end of the events", async { while events.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn one_name_is_one_machine_of_one_type() {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Other;
    impl StateMachine for Other {
        type Command = ();
        type Reply = ();
        fn apply(&mut self, _: &ApplyContext, (): ()) {}
    }

    let network = MemoryNetwork::new();
    let cluster = builder(&network, 1).consensus(Raft::nodes(1)).storage(Memory).start().await.unwrap();
    let first = cluster.replicate::<Counter>("counter").await.unwrap();
    let again = cluster.replicate::<Counter>("counter").await.unwrap();
    within("a submit", first.submit(Command::Add(3))).await.unwrap();
    assert_eq!(within("a read", again.read(|counter| counter.value)).await.unwrap(), 3);
    let other = cluster.replicate::<Other>("counter").await.unwrap_err();
    assert!(other.to_string().contains("another type"), "{other}");
    assert!(cluster.replicate::<Counter>("").await.is_err());
}

/// Writes a command as text.
#[derive(Clone)]
struct Text;

impl Codec<Command> for Text {
    fn id(&self) -> u8 {
        200
    }

    fn encode(&self, command: &Command) -> Result<Bytes, CodecError> {
        Ok(match command {
            Command::Add(n) => format!("add {n}").into(),
            Command::Reset => "reset".into(),
        })
    }

    fn decode(&self, bytes: &[u8]) -> Result<Command, CodecError> {
        let text = std::str::from_utf8(bytes).map_err(|error| CodecError(error.to_string()))?;
        match text.strip_prefix("add ").map(str::parse) {
            Some(Ok(n)) => Ok(Command::Add(n)),
            None if text == "reset" => Ok(Command::Reset),
            _ => Err(CodecError(format!("{text:?} is no command"))),
        }
    }
}

#[tokio::test]
async fn nodes_of_different_serialization_and_a_codec_of_the_application_understand_each_other() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for (port, serialization) in [(1, Serialization::Json), (2, Serialization::Protobuf), (3, Serialization::Json)] {
        let builder = builder(&network, port).consensus(Raft::nodes(3)).storage(Memory).serialization(serialization);
        let cluster = builder.start().await.unwrap();
        let plain = cluster.replicate::<Counter>("plain").await.unwrap();
        let text = cluster.replicate_with::<Counter, _>("text", Text).await.unwrap();
        nodes.push((cluster, plain, text));
    }
    leader(&nodes[0].0).await;
    for (expected, (_, plain, text)) in (1..).zip(&nodes) {
        assert_eq!(within("a submit", plain.submit(Command::Add(1))).await.unwrap(), expected);
        assert_eq!(within("a submit", text.submit(Command::Add(2))).await.unwrap(), expected * 2);
    }
    within("a reset", nodes[0].2.submit(Command::Reset)).await.unwrap();
    assert_eq!(within("a read", nodes[1].2.read(|counter| counter.value)).await.unwrap(), 0);
    assert_eq!(within("a read", nodes[1].1.read(|counter| counter.value)).await.unwrap(), 3);
}

/// Postcard cannot read what does not say which of its shapes it has.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Shapeless {
    Add(i64),
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Sum(i64);

impl StateMachine for Sum {
    type Command = Shapeless;
    type Reply = i64;

    fn apply(&mut self, _: &ApplyContext, Shapeless::Add(n): Shapeless) -> i64 {
        self.0 += n;
        self.0
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_read_back_is_refused_and_halts_nothing() {
    let network = MemoryNetwork::new();
    let cluster = builder(&network, 1).consensus(Raft::nodes(1)).storage(Memory).start().await.unwrap();
    let sum = cluster.replicate::<Sum>("sum").await.unwrap();
    let counter = cluster.replicate::<Counter>("counter").await.unwrap();
    let refused = within("a submit", sum.submit(Shapeless::Add(1))).await;
    let Err(SubmitError::NotCommitted(Refused::Codec(reason))) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("cannot be read back") && reason.contains(".serialization(Json)"), "{reason}");
    assert_eq!(within("a submit", counter.submit(Command::Add(2))).await, Ok(2), "apply goes on");
    within("a shutdown", cluster.shutdown()).await;

    let json = MemoryNetwork::new();
    let json = builder(&json, 1).consensus(Raft::nodes(1)).storage(Memory).serialization(Serialization::Json);
    let sum = json.start().await.unwrap().replicate::<Sum>("sum").await.unwrap();
    assert_eq!(within("a submit", sum.submit(Shapeless::Add(1))).await, Ok(1));
}

#[tokio::test]
async fn a_command_beyond_the_limit_is_refused_and_a_machine_that_panics_halts_and_says_so() {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Fragile;
    impl StateMachine for Fragile {
        type Command = String;
        type Reply = usize;
        fn apply(&mut self, _: &ApplyContext, command: String) -> usize {
            assert_ne!(command, "panic", "this machine does not take that");
            command.len()
        }
    }

    let network = MemoryNetwork::new();
    let short = std::time::Duration::from_millis(500);
    let builder = builder(&network, 1).consensus(Raft::nodes(1)).storage(Memory).request_timeout(short);
    let cluster = builder.start().await.unwrap();
    let fragile = cluster.replicate::<Fragile>("fragile").await.unwrap();
    leader(&cluster).await;
    let large = fragile.submit("x".repeat(2 << 20)).await;
    assert!(matches!(large, Err(SubmitError::NotCommitted(Refused::TooLarge { .. }))), "{large:?}");
    assert_eq!(fragile.submit("fine".to_owned()).await, Ok(4));

    // It is in the log, so it was not refused; but no node will ever apply it.
    let panicked = fragile.submit("panic".to_owned()).await;
    assert!(matches!(panicked, Err(SubmitError::Unknown { .. })), "{panicked:?}");
    let status = status(&cluster, "a halt", |status| matches!(status.stage, Stage::WaitingForMachine { .. })).await;
    assert!(status.waiting().is_some_and(|why| why.contains("does not take that")), "{status:?}");
    assert_eq!(fragile.read(|_| ()).await, Err(ReadError::Failed));
    within("a shutdown", cluster.shutdown()).await;
}
