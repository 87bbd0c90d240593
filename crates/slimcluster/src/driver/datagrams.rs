//! Receiving datagrams and announcements.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::node::io::Input;

use super::event_loop::Arrivals;
use crate::transport::{DatagramSocket, MulticastSocket};

/// Receives until it is dropped.
pub(super) async fn receive_datagrams(socket: Arc<dyn DatagramSocket>, arrivals: Arrivals) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let received = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).await;
        accept(received, &buffer, &arrivals, |from, bytes| Input::Datagram { from, bytes }).await;
    }
}

/// Receives until it is dropped.
pub(super) async fn receive_announcements(socket: Arc<dyn MulticastSocket>, arrivals: Arrivals) {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let received = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).await;
        accept(received, &buffer, &arrivals, |from, bytes| Input::Announcement { from, bytes }).await;
    }
}

async fn accept(
    received: std::io::Result<(usize, SocketAddr)>,
    buffer: &[u8],
    arrivals: &Arrivals,
    input: impl Fn(SocketAddr, Bytes) -> Input,
) {
    match received {
        // No node of this project sends such a datagram, so nothing is lost by not reading it.
        Ok((length, from)) if length > DATAGRAM_BYTES_MAX => {
            arrivals.drop_datagram();
            tracing::debug!("a datagram of more than {DATAGRAM_BYTES_MAX} bytes from {from} was dropped");
        }
        Ok((length, from)) => arrivals.push_datagram(input(from, Bytes::copy_from_slice(&buffer[..length])), length),
        Err(error) => {
            tracing::debug!("receiving a datagram failed: {error}");
            // Whatever is wrong must not become a busy loop.
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

// Longer datagrams than 1,232 bytes are never sent; the margin is for later versions.
const DATAGRAM_BYTES_MAX: usize = 1500;
// Longer than the limit, so that what is cut to it shows.
const BUFFER_BYTES: usize = 2048;
const ERROR_PAUSE: Duration = Duration::from_millis(10);
