//! A signal stops the node in order. In a file of its own: the signal goes to the whole process.
#![cfg(unix)]

mod common;

use common::within;
use slimcluster::MemoryNetwork;
use slimcluster::prelude::*;

#[tokio::test]
async fn sigterm_stops_the_node_in_order() {
    let network = MemoryNetwork::new();
    let builder = |port| {
        Cluster::builder("test")
            .node_name(format!("n{port}"))
            .transport(network.port(port))
            .seeds(["127.0.0.1:1"])
            .membership(Swim::local())
    };
    // The handlers are in place once the first has started.
    let stopped = builder(1).start().await.unwrap();
    let other = builder(2).handle_signals(false).start().await.unwrap();
    common::alive(&other, 2).await;
    let mut events = other.events();
    let status = std::process::Command::new("kill").arg(std::process::id().to_string()).status().unwrap();
    assert!(status.success());
    within("the end", stopped.stopped()).await;
    let said = within("a farewell", async {
        while let Some(event) = events.next().await {
            if let EventKind::StatusChanged(member) = event.kind
                && member.restarting
            {
                return Some(member.name);
            }
        }
        None
    });
    assert_eq!(said.await.as_deref(), Some("n1"), "it says that it will be back");
    assert!(!other.is_stopped(), "a node that was told not to care goes on");
}
