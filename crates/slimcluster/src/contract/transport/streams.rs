//! Streams.

use std::time::Duration;

use slimcluster_core::random::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::network::{bind_two, connect, exchange, hear, pattern, same, say, success, within};
use super::suite::Bench;
use crate::contract::case::{Breach, Verdict, breach, equal, holds};
use crate::transport::Stream;

pub(super) async fn bytes_in_order(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (dialled, accepted, _) = connect(&near, &far).await?;
    let (mut near_reads, mut near_writes) = tokio::io::split(dialled);
    let (mut far_reads, mut far_writes) = tokio::io::split(accepted);
    let (forth, back) = (pattern(STREAM_BYTES, 1), pattern(STREAM_BYTES, 2));
    let mut random = Random::new(bench.seed);
    let (mut forth_sizes, mut back_sizes) = (random.fork(1), random.fork(2));
    let writing_forth = write_in_pieces(&mut near_writes, &forth, &mut forth_sizes);
    let writing_back = write_in_pieces(&mut far_writes, &back, &mut back_sizes);
    let reading_forth = read_until_end(&mut far_reads);
    let reading_back = read_until_end(&mut near_reads);
    let all = async { tokio::join!(writing_forth, writing_back, reading_forth, reading_back) };
    let (wrote_forth, wrote_back, came_forth, came_back) =
        within(format!("{STREAM_BYTES} bytes both ways"), all).await?;
    wrote_forth.and(wrote_back)?;
    same(&came_forth?, &forth)?;
    same(&came_back?, &back)
}

/// Writes pieces of all sizes, then shuts down.
async fn write_in_pieces(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], sizes: &mut Random) -> Verdict {
    let failed = |error| breach("bytes are written", error);
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = 1 + if sizes.chance(1, 2) { sizes.below(100) } else { sizes.below(100_000) };
        let (piece, left) = rest.split_at(rest.len().min(size as usize));
        to.write_all(piece).await.map_err(failed)?;
        to.flush().await.map_err(failed)?;
        rest = left;
    }
    to.shutdown().await.map_err(|error| breach("the writer shuts down", error))
}

async fn read_until_end(from: &mut (impl AsyncReadExt + Unpin)) -> Result<Vec<u8>, Breach> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.map_err(|error| breach("bytes until the writer shuts down", error))?;
    Ok(bytes)
}

pub(super) async fn what_is_flushed_arrives(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (mut dialled, mut accepted, _) = connect(&near, &far).await?;
    for round in 0..20 {
        let sent = pattern(1 + round * 7, round as u64);
        say(&mut dialled, &sent).await?;
        hear(&mut accepted, &sent).await?;
        say(&mut accepted, &sent).await?;
        hear(&mut dialled, &sent).await?;
    }
    Ok(())
}

pub(super) async fn an_accepted_stream_names_its_source(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (_dialled, _accepted, source) = connect(&near, &far).await?;
    if !near.address.ip().is_unspecified() {
        equal("the host of an accepted stream", &source.ip(), &near.address.ip())?;
    }
    holds(!source.ip().is_unspecified(), "a source that can be told from others", source)
}

pub(super) async fn shutting_down_ends_one_direction(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (mut dialled, mut accepted, _) = connect(&near, &far).await?;
    let sent = pattern(100_000, 4);
    let writing = async {
        say(&mut dialled, &sent).await?;
        success("the writer shuts down", dialled.shutdown()).await
    };
    let reading = within("all bytes and then the end", read_until_end(&mut accepted));
    let (wrote, read) = tokio::join!(writing, reading);
    wrote?;
    same(&read??, &sent)?;
    // The other direction is open still: the last answer comes after the last question.
    say(&mut accepted, b"the last answer").await?;
    hear(&mut dialled, b"the last answer").await?;
    success("the other side shuts down too", accepted.shutdown()).await?;
    let rest = within("the end of the other direction", read_until_end(&mut dialled)).await??;
    same(&rest, b"")
}

pub(super) async fn the_end_of_a_peer_is_seen(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    for dialler_ends in [true, false] {
        let (dialled, accepted, _) = connect(&near, &far).await?;
        let (gone, mut left) = if dialler_ends { (dialled, accepted) } else { (accepted, dialled) };
        say(&mut left, b"unread").await?;
        drop(gone);
        let mut byte = [0];
        // An end or an error, but no byte and no wait.
        let read = within("an end when the peer is gone", left.read(&mut byte)).await?;
        holds(!matches!(read, Ok(1..)), "an end when the peer is gone", "a byte that nobody sent")?;
        let piece = pattern(64 << 10, 5);
        let writing = async {
            let mut written = 0;
            while written < HELD_BYTES_MAX {
                if left.write_all(&piece).await.is_err() {
                    return true;
                }
                written += piece.len();
            }
            false
        };
        let refused = within("an error of a write to a peer that is gone", writing).await?;
        holds(refused, "an error of a write to a peer that is gone", format!("{HELD_BYTES_MAX} bytes taken"))?;
    }
    Ok(())
}

pub(super) async fn a_writer_waits(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (mut dialled, mut accepted, _) = connect(&near, &far).await?;
    let taken = stall(&mut dialled).await?;
    holds(taken < HELD_BYTES_MAX, format!("less than {HELD_BYTES_MAX} bytes taken that nobody reads"), taken)?;
    // Once the other side reads, everything arrives, and the writer goes on.
    let mut received = vec![0; taken];
    success("what was taken arrives", accepted.read_exact(&mut received)).await?;
    same(&received, &pattern(taken, STALL_SALT))?;
    say(&mut dialled, b"goes on").await?;
    hear(&mut accepted, b"goes on").await
}

/// Writes until the stream takes nothing more for a moment; gives how many bytes it took.
async fn stall(stream: &mut Box<dyn Stream>) -> Result<usize, Breach> {
    let bytes = pattern(HELD_BYTES_MAX, STALL_SALT);
    let mut taken = 0;
    while taken < bytes.len() {
        match timeout(STALLED_AFTER, stream.write(&bytes[taken..])).await {
            Ok(Ok(0)) => return Err(breach("a stream that waits when it is full", "a write of no bytes")),
            Ok(Ok(count)) => taken += count,
            Ok(Err(error)) => return Err(breach("a stream that waits when it is full", error)),
            Err(_) => break,
        }
    }
    Ok(taken)
}

pub(super) async fn many_streams_are_kept_apart(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let mut streams = Vec::new();
    for number in 0..STREAMS {
        // Both nodes dial, as both nodes of a pair do.
        let (from, to) = if number % 2 == 0 { (&near, &far) } else { (&far, &near) };
        let (dialled, accepted, _) = connect(from, to).await?;
        streams.push((dialled, accepted));
    }
    for round in 0..5 {
        for (number, (dialled, accepted)) in streams.iter_mut().enumerate() {
            let salt = (round * STREAMS + number) as u64;
            say(dialled, &pattern(300, salt)).await?;
            say(accepted, &pattern(300, salt + 1_000_000)).await?;
        }
        for (number, (dialled, accepted)) in streams.iter_mut().enumerate().rev() {
            let salt = (round * STREAMS + number) as u64;
            hear(accepted, &pattern(300, salt)).await?;
            hear(dialled, &pattern(300, salt + 1_000_000)).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_stalled_stream_stalls_nothing_else(bench: &Bench) -> Verdict {
    let (near, far) = bind_two(bench).await?;
    let (mut stalled, unread, _) = connect(&near, &far).await?;
    stall(&mut stalled).await?;
    // The same pair of nodes: another stream, the other direction of the full one, and datagrams.
    let (mut dialled, mut accepted, _) = connect(&near, &far).await?;
    for round in 0..50 {
        say(&mut dialled, &pattern(5000, round)).await?;
        hear(&mut accepted, &pattern(5000, round)).await?;
    }
    let mut unread = unread;
    say(&mut unread, b"backwards").await?;
    hear(&mut stalled, b"backwards").await?;
    let (received, _) = exchange(&near, &far, far.address, b"beside it", 2048).await?;
    same(&received, b"beside it")
}

const STREAM_BYTES: usize = 3 << 20;
const STREAMS: usize = 32;
// More than any kernel and any queue of ours holds for a stream.
const HELD_BYTES_MAX: usize = 32 << 20;
const STALLED_AFTER: Duration = Duration::from_millis(300);
const STALL_SALT: u64 = 77;
