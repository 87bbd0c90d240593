//! Endpoints: where they are, and how they come and go.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::network::{bind, bind_two, connect, drain, exchange, hear, receive, same, say, success, within};
use super::suite::Bench;
use crate::contract::case::{Breach, Verdict, breach, equal, holds};

pub(super) async fn a_node_is_reached_at_its_address(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    for node in [&near, &far] {
        holds(node.address.port() != 0, "a port that can be dialled", node.address)?;
    }
    holds(near.address != far.address, "an address of its own for each node", near.address)?;
    let (received, _) = exchange(&near, &far, far.address, b"one", 2048).await?;
    same(&received, b"one")?;
    let (mut dialled, mut accepted, _) = connect(&near, &far).await?;
    say(&mut dialled, b"both under one address").await?;
    hear(&mut accepted, b"both under one address").await?;
    // And nobody else hears it.
    let third = bind(bench).await?;
    let _ = near.datagrams.try_send(b"for the other", far.address);
    let heard = timeout(Duration::from_millis(200), receive(&third, 2048)).await;
    holds(heard.is_err(), "nothing at a node that was not named", "a datagram")
}

pub(super) async fn a_receiver_that_waits_is_woken(bench: &Bench) -> Verdict {
    let (near, mut far) = bind_two(bench).await?;
    let address = far.address;
    // Whoever waits is a task of its own, which runs again only if it is woken.
    for _ in 0..5 {
        let waiting = tokio::task::spawn_local(async move {
            let received = receive(&far, 2048).await;
            (far, received)
        });
        for _ in 0..50 {
            sleep(Duration::from_millis(20)).await;
            if waiting.is_finished() {
                break;
            }
            // A datagram may be lost, so it is sent until one is received.
            let _ = near.datagrams.try_send(b"wake up", address);
        }
        let received;
        (far, received) = joined("a datagram for a receiver that waits already", waiting).await?;
        received.map_err(|error| breach("a datagram", error))?;
        drain(&far).await;
    }

    let listener = Arc::clone(&far.streams);
    let waiting = tokio::task::spawn_local(async move { poll_fn(|cx| listener.poll_accept(cx)).await });
    sleep(Duration::from_millis(50)).await;
    let mut dialled = success("a dial to a node that accepts", near.streams.connect(address)).await?;
    let accepted = joined("a stream for an acceptor that waits already", waiting).await?;
    let (mut accepted, _) = accepted.map_err(|error| breach("a stream to accept", error))?;

    let waiting = tokio::task::spawn_local(async move {
        let read = accepted.read_u8().await;
        (accepted, read)
    });
    sleep(Duration::from_millis(50)).await;
    say(&mut dialled, &[7]).await?;
    let (_accepted, read) = joined("a byte for a reader that waits already", waiting).await?;
    equal("the byte", &read.map_err(|error| breach("a byte", error))?, &7)
}

/// Waits for a task.
async fn joined<T>(what: &str, task: JoinHandle<T>) -> Result<T, Breach> {
    within(what, task).await?.map_err(|error| breach(what, error))
}

pub(super) async fn a_dial_to_nobody_is_refused(bench: &Bench) -> Verdict {
    let near = bind(bench).await?;
    // Somebody else on this host may be given one of the addresses in between, but hardly all.
    for _ in 0..3 {
        let gone = bind(bench).await?.address;
        if within("a refusal where nobody listens", near.streams.connect(gone)).await?.is_err() {
            return Ok(());
        }
    }
    Err(breach("a refusal where nobody listens", "a stream"))
}

pub(super) async fn a_dial_given_up(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    for patience in [0, 0, 1, 5] {
        let dialling = near.streams.connect(far.address);
        // However far it came.
        let _ = timeout(Duration::from_millis(patience), dialling).await;
    }
    // Whoever was given up on is accepted at most as a stream that has ended; then comes the one that stays.
    let mut dialled = within("a dial that stays", near.streams.connect(far.address)).await?;
    let dialled = dialled.as_mut().map_err(|error| breach("a dial that stays", error))?;
    say(dialled, b"still here").await?;
    for _ in 0..5 {
        let accepting = within("a stream to accept", poll_fn(|cx| far.streams.poll_accept(cx)));
        let (mut accepted, _) = accepting.await?.map_err(|error| breach("a stream to accept", error))?;
        let mut bytes = [0; 10];
        let read = within("bytes, or the end of a dial that was given up", accepted.read_exact(&mut bytes)).await?;
        if read.is_ok() {
            return same(&bytes, b"still here");
        }
    }
    Err(breach("the dial that stays is accepted", "only those that were given up"))
}

pub(super) async fn a_dropped_endpoint_ends_what_was_not_accepted(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let dialled = within("a dial to a node that does not accept yet", near.streams.connect(far.address)).await?;
    let Ok(mut dialled) = dialled else { return Ok(()) };
    drop(far);
    let mut byte = [0];
    let read = within("the end of a stream that was never accepted", dialled.read(&mut byte)).await?;
    holds(!matches!(read, Ok(1..)), "the end of a stream that was never accepted", "a byte that nobody sent")
}

pub(super) async fn a_dropped_endpoint_frees_its_address(bench: &Bench) -> Verdict {
    let near = bind(bench).await?;
    let node = bench.node();
    let first = node.bind(bench.options).await.map_err(|error| breach("the transport binds", error))?;
    for _ in 0..10 {
        let _ = near.datagrams.try_send(b"for the first", first.address);
    }
    let dialled = near.streams.connect(first.address).await;
    let address = first.address;
    drop(first);
    let second = within("the address is free again", node.bind(bench.options)).await?;
    let second = second.map_err(|error| breach(format!("{address} is free again"), error))?;
    let heard = timeout(Duration::from_millis(200), receive(&second, 2048)).await;
    holds(heard.is_err(), "nothing that was said to the node before", "a datagram of the past")?;
    let accepted = timeout(Duration::from_millis(200), poll_fn(|cx| second.streams.poll_accept(cx))).await;
    holds(accepted.is_err(), "no stream that was dialled to the node before", "a stream of the past")?;
    drop(dialled);
    let (received, _) = exchange(&near, &second, second.address, b"for the second", 2048).await?;
    same(&received, b"for the second")
}

pub(super) async fn an_address_has_one_holder(bench: &Bench) -> Verdict {
    let near = bind(bench).await?;
    let node = bench.node();
    let first = node.bind(bench.options).await.map_err(|error| breach("the transport binds", error))?;
    // A transport that takes any free port gets another one; all others are refused.
    if let Ok(second) = node.bind(bench.options).await {
        holds(second.address != first.address, "a refusal, or another address", second.address)?;
    }
    let (received, _) = exchange(&near, &first, first.address, b"unharmed", 2048).await?;
    same(&received, b"unharmed")
}
