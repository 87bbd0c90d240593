//! Nodes that talk, and waiting with a bound.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::suite::Bench;
use crate::contract::case::{Breach, Verdict, breach, equal};
use crate::transport::{Endpoint, Stream};

/// Runs the case on an event loop like that of a node.
pub(super) fn on_loop(case: impl Future<Output = Verdict>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| breach("an event loop", error))?;
    tokio::task::LocalSet::new().block_on(&runtime, case)
}

/// Binds another node.
pub(super) async fn bind(bench: &Bench) -> Result<Endpoint, Breach> {
    let node = bench.node();
    node.validate().map_err(|error| breach("a transport whose options are valid", error))?;
    node.bind(bench.options).await.map_err(|error| breach("the transport binds", error))
}

/// Binds two nodes.
pub(super) async fn bind_two(bench: &Bench) -> Result<(Endpoint, Endpoint), Breach> {
    Ok((bind(bench).await?, bind(bench).await?))
}

/// Waits for `future`; that nothing comes is a breach.
pub(super) async fn within<T>(what: impl Display, future: impl Future<Output = T>) -> Result<T, Breach> {
    timeout(WAIT_MAX, future).await.map_err(|_| breach(what, format!("nothing for {WAIT_MAX:?}")))
}

/// Waits for `future`, which must succeed.
pub(super) async fn success<T>(what: impl Display, future: impl Future<Output = io::Result<T>>) -> Result<T, Breach> {
    let result = within(&what, future).await?;
    result.map_err(|error| breach(what, error))
}

/// Receives one datagram into a buffer of this size.
pub(super) async fn receive(endpoint: &Endpoint, buffer_bytes: usize) -> io::Result<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; buffer_bytes];
    let (length, from) = poll_fn(|cx| endpoint.datagrams.poll_receive(cx, &mut buffer)).await?;
    if length > buffer_bytes {
        return Err(io::Error::other(format!("a length of {length} for a buffer of {buffer_bytes} bytes")));
    }
    buffer.truncate(length);
    Ok((buffer, from))
}

/// Says `bytes` again and again until something is heard, because a datagram may be lost; gives what was heard first.
pub(super) async fn exchange(
    from: &Endpoint,
    to: &Endpoint,
    address: SocketAddr,
    bytes: &[u8],
    buffer_bytes: usize,
) -> Result<(Vec<u8>, SocketAddr), Breach> {
    let what = format!("a datagram of {} bytes", bytes.len());
    for _ in 0..TRIES {
        // A send that fails is a loss like another.
        let _ = from.datagrams.try_send(bytes, address);
        if let Ok(received) = timeout(REPEAT_AFTER, receive(to, buffer_bytes)).await {
            return received.map_err(|error| breach(what, error));
        }
    }
    Err(breach(what, format!("none, sent {TRIES} times")))
}

/// Takes whatever has arrived and still arrives within a moment; gives how many bytes that were.
pub(super) async fn drain(endpoint: &Endpoint) -> usize {
    let mut bytes = 0;
    while let Ok(Ok((received, _))) = timeout(REPEAT_AFTER, receive(endpoint, 2048)).await {
        bytes += received.len();
    }
    bytes
}

/// A stream from one node to the other: the dialler's end, the acceptor's end, and the source that the acceptor was told.
pub(super) async fn connect(
    from: &Endpoint,
    to: &Endpoint,
) -> Result<(Box<dyn Stream>, Box<dyn Stream>, SocketAddr), Breach> {
    let dialling = success("a dial to a node that accepts", from.streams.connect(to.address));
    let accepting = success("a stream to accept", poll_fn(|cx| to.streams.poll_accept(cx)));
    let (dialled, accepted) = tokio::join!(dialling, accepting);
    let (accepted, source) = accepted?;
    Ok((dialled?, accepted, source))
}

/// Writes and flushes.
pub(super) async fn say(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> Verdict {
    success("bytes are written", stream.write_all(bytes)).await?;
    success("bytes are flushed", stream.flush()).await
}

/// The next bytes must be these.
pub(super) async fn hear(stream: &mut Box<dyn Stream>, expected: &[u8]) -> Verdict {
    let mut bytes = vec![0; expected.len()];
    success(format!("{} bytes", expected.len()), stream.read_exact(&mut bytes)).await?;
    same(&bytes, expected)
}

/// The bytes must be these; a breach shows where they begin to differ instead of all of them.
pub(super) fn same(seen: &[u8], expected: &[u8]) -> Verdict {
    equal("the number of bytes", &seen.len(), &expected.len())?;
    match seen.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(at) => Err(breach(format!("byte {at} is {}", expected[at]), seen[at])),
    }
}

/// Bytes in which every place is told from its neighbours, another sequence for each `salt`.
pub(super) fn pattern(bytes: usize, salt: u64) -> Vec<u8> {
    (0..bytes as u64).map(|at| ((at + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

// Far beyond what anything takes, so that only what never comes fails by it.
const WAIT_MAX: Duration = Duration::from_secs(10);
const REPEAT_AFTER: Duration = Duration::from_millis(100);
const TRIES: usize = 50;
