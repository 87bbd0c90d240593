//! The traits of a transport.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::discovery::BoxFuture;
use crate::error::StartError;

/// Something that carries bytes between nodes.
pub trait Transport: Send + Sync + 'static {
    /// Checks what can be known without binding anything.
    ///
    /// # Errors
    /// One sentence that names the value and the remedy.
    fn validate(&self) -> Result<(), StartError> {
        Ok(())
    }

    /// Binds. Runs once, on the node's event loop; whatever is bound is released when the endpoint is dropped.
    fn bind(&self, options: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>>;
}

/// What a transport must know to bind.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct BindOptions {
    /// The user accepts that other hosts can reach the node without encryption. Unless this is set, a transport refuses with
    /// [`StartError::Insecure`] to bind where they can.
    pub allow_insecure: bool,
}

/// A bound transport.
pub struct Endpoint {
    /// Where it is bound. The address may be unspecified, the port may not.
    pub address: SocketAddr,
    /// Carries datagrams.
    pub datagrams: Box<dyn DatagramSocket>,
    /// Accepts and dials streams.
    pub streams: Arc<dyn StreamListener>,
    /// The multicast group, if one was asked for.
    pub multicast: Option<Box<dyn MulticastSocket>>,
}

/// Sends and receives datagrams. They may get lost, doubled or reordered; they are never cut short or joined.
pub trait DatagramSocket: Send + Sync {
    /// Receives one datagram into `buffer`; gives its length and source. A datagram longer than the buffer is given with the buffer's length.
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends without waiting; where that is impossible the datagram is lost.
    ///
    /// # Errors
    /// It was not sent. Loss is expected; the error is counted, not acted upon.
    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()>;
}

/// Accepts and dials streams.
pub trait StreamListener: Send + Sync {
    /// Accepts one stream; gives it with its source.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// Dials. The driver gives up by dropping the future.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
}

/// Sends to and receives from every node of a multicast group, the own included.
pub trait MulticastSocket: Send + Sync {
    /// Receives one datagram into `buffer`; gives its length and source.
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends without waiting on every interface that the group was joined on.
    ///
    /// # Errors
    /// No interface took it.
    fn try_send(&self, bytes: &[u8]) -> io::Result<()>;

    /// The group and where it was joined, for messages to people.
    fn describe(&self) -> String;
}

/// A connected stream of bytes, reliable and in order until it ends.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}
