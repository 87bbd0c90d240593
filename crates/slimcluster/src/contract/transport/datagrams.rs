//! Datagrams.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use slimcluster_core::random::Random;
use tokio::time::timeout;

use super::network::{bind, bind_two, drain, exchange, on_loop, pattern, receive, same, within};
use super::suite::Bench;
use crate::contract::case::{Verdict, breach, equal, holds};

pub(super) async fn arrive_whole(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    // The longest that nodes send, and the longest that they look at.
    for bytes in [1, 2, 44, 512, 1231, 1232, 1500] {
        let sent = pattern(bytes, bytes as u64);
        let (received, _) = exchange(&near, &far, far.address, &sent, 2048).await?;
        same(&received, &sent)?;
        drain(&far).await;
    }
    Ok(())
}

pub(super) async fn a_burst_is_not_altered(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let mut random = Random::new(bench.seed);
    let sent: BTreeMap<Vec<u8>, u64> =
        (0..BURST).map(|number| (pattern(8 + random.below(1200) as usize, number), number)).collect();
    let mut heard = 0;
    for burst in sent.keys().collect::<Vec<_>>().chunks(20) {
        for datagram in burst {
            let _ = near.datagrams.try_send(datagram, far.address);
        }
        for _ in burst {
            let Ok(received) = timeout(Duration::from_millis(200), receive(&far, 2048)).await else { break };
            let (bytes, _) = received.map_err(|error| breach("a datagram", error))?;
            holds(sent.contains_key(&bytes), "a datagram that was sent", format!("{} other bytes", bytes.len()))?;
            heard += 1;
        }
    }
    holds(heard > BURST / 2, format!("more than half of {BURST} datagrams, received as they came"), heard)
}

pub(super) async fn a_long_one_fills_the_buffer(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let sent = pattern(1500, 3);
    let (received, _) = exchange(&near, &far, far.address, &sent, 100).await?;
    same(&received, &sent[..100])?;
    drain(&far).await;
    // The rest of it is gone, and does not come as a datagram of its own.
    let (received, _) = exchange(&near, &far, far.address, b"next", 100).await?;
    same(&received, b"next")
}

pub(super) async fn the_source_can_be_answered(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (_, from) = exchange(&near, &far, far.address, b"ping", 2048).await?;
    if !near.address.ip().is_unspecified() {
        equal("the source of a datagram", &from, &near.address)?;
    }
    let (received, _) = exchange(&far, &near, from, b"ack", 2048).await?;
    same(&received, b"ack")
}

pub(super) async fn sending_to_nobody(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let gone = bind(bench).await?.address;
    for _ in 0..100 {
        // An error is as good as a loss.
        let _ = near.datagrams.try_send(b"anybody?", gone);
    }
    let (received, _) = exchange(&near, &far, far.address, b"somebody", 2048).await?;
    same(&received, b"somebody")?;
    // What the system says about the datagrams to nobody must not be taken for the end of the socket.
    let answer = exchange(&far, &near, near.address, b"here", 2048).await;
    let answer = if answer.is_ok() { answer } else { exchange(&far, &near, near.address, b"here", 2048).await };
    same(&answer?.0, b"here")
}

pub(super) async fn what_nobody_receives_is_bounded(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let datagram = pattern(1232, 9);
    let started = Instant::now();
    for _ in 0..FLOOD_BYTES / datagram.len() {
        // Sent or lost, but at once.
        let _ = near.datagrams.try_send(&datagram, far.address);
    }
    let took = started.elapsed();
    holds(
        took < FLOOD_TIME_MAX,
        format!("{FLOOD_BYTES} bytes sent or lost within {FLOOD_TIME_MAX:?}"),
        format!("{took:?}"),
    )?;
    let held = drain(&far).await;
    holds(held <= HELD_BYTES_MAX, format!("at most {HELD_BYTES_MAX} bytes held for a receiver that sleeps"), held)?;
    let (received, _) = exchange(&near, &far, far.address, b"awake", 2048).await?;
    same(&received, b"awake")
}

/// Why the group cannot be asked about, if so.
pub(super) fn without_group(bench: &Bench) -> Option<&'static str> {
    let mut has_group = true;
    // A transport that does not bind is asked, and found out.
    let _ = on_loop(async {
        has_group = bind(bench).await?.multicast.is_some();
        Ok(())
    });
    (!has_group).then_some("it has no multicast group")
}

pub(super) async fn announcements_reach_the_group(bench: &Bench) -> Verdict {
    let nodes = [bind(bench).await?, bind(bench).await?, bind(bench).await?];
    let groups: Vec<_> = nodes.iter().filter_map(|node| node.multicast.as_ref()).collect();
    let Some(speaker) = groups.first() else { return Err(breach("a group", "none")) };
    equal("the number of nodes with a group", &groups.len(), &nodes.len())?;
    holds(!speaker.describe().is_empty(), "a group that says where it was joined", "no words")?;
    for (number, group) in groups.iter().enumerate() {
        let mut buffer = [0; 2048];
        let listening = async {
            loop {
                let _ = speaker.try_send(b"here I am");
                let heard = poll_fn(|cx| group.poll_receive(cx, &mut buffer));
                if let Ok(heard) = timeout(Duration::from_millis(200), heard).await {
                    return heard;
                }
            }
        };
        let heard = within(format!("an announcement at node {number}"), listening).await?;
        let (length, _) = heard.map_err(|error| breach("an announcement", error))?;
        same(&buffer[..length], b"here I am")?;
    }
    Ok(())
}

const BURST: u64 = 400;
// More than any kernel and any queue of ours holds.
const FLOOD_BYTES: usize = 64 << 20;
const FLOOD_TIME_MAX: Duration = Duration::from_secs(20);
const HELD_BYTES_MAX: usize = 32 << 20;
