//! A network inside one process.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{BindOptions, DatagramSocket, Endpoint, Stream, StreamListener, Transport};
use crate::discovery::BoxFuture;
use crate::error::StartError;

/// A network inside one process: for tests and for clusters that live in a single process. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    mailboxes: Arc<Mutex<BTreeMap<SocketAddr, Mailbox>>>,
}

impl MemoryNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        MemoryNetwork::default()
    }

    /// A transport of one node, reached at `127.0.0.1` and this port, which is a number of this network and of nothing else.
    pub fn port(&self, port: u16) -> MemoryTransport {
        MemoryTransport { network: self.clone(), port }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Mailbox>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's place in a [`MemoryNetwork`].
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    port: u16,
}

#[derive(Debug)]
struct Mailbox {
    datagrams: mpsc::Sender<(Bytes, SocketAddr)>,
    streams: mpsc::Sender<(tokio::io::DuplexStream, SocketAddr)>,
}

impl Transport for MemoryTransport {
    fn bind(&self, _: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>> {
        Box::pin(async move {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
            if self.port == 0 {
                return Err(StartError::address(address, "a node of a memory network needs a port from 1 to 65535"));
            }
            let (datagrams, datagrams_received) = mpsc::channel(DATAGRAMS_MAX);
            let (streams, streams_accepted) = mpsc::channel(BACKLOG);
            let mut mailboxes = self.network.lock();
            if mailboxes.get(&address).is_some_and(|mailbox| !mailbox.streams.is_closed()) {
                return Err(StartError::address(
                    address,
                    "another node of this memory network has this port; choose another",
                ));
            }
            mailboxes.insert(address, Mailbox { datagrams, streams });
            drop(mailboxes);
            Ok(Endpoint {
                address,
                datagrams: Box::new(Datagrams {
                    network: self.network.clone(),
                    address,
                    received: Mutex::new(datagrams_received),
                }),
                streams: Arc::new(Streams {
                    network: self.network.clone(),
                    address,
                    accepted: Mutex::new(streams_accepted),
                }),
                multicast: None,
            })
        })
    }
}

struct Datagrams {
    network: MemoryNetwork,
    address: SocketAddr,
    received: Mutex<mpsc::Receiver<(Bytes, SocketAddr)>>,
}

impl DatagramSocket for Datagrams {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.poll_recv(cx).map(|datagram| {
            let (bytes, from) = datagram.ok_or(io::ErrorKind::NotConnected)?;
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok((length, from))
        })
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let mailboxes = self.network.lock();
        let mailbox = mailboxes.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
        mailbox
            .datagrams
            .try_send((Bytes::copy_from_slice(bytes), self.address))
            .map_err(|_| io::ErrorKind::WouldBlock.into())
    }
}

struct Streams {
    network: MemoryNetwork,
    address: SocketAddr,
    accepted: Mutex<mpsc::Receiver<(tokio::io::DuplexStream, SocketAddr)>>,
}

impl StreamListener for Streams {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.poll_recv(cx).map(|stream| {
            let (stream, from) = stream.ok_or(io::ErrorKind::NotConnected)?;
            Ok((Box::new(stream) as Box<dyn Stream>, from))
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        let result = match self.network.lock().get(&to) {
            Some(mailbox) => {
                mailbox.streams.try_send((far, self.address)).map_err(|_| io::ErrorKind::ConnectionRefused.into())
            }
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        Box::pin(async move { result.map(|()| Box::new(near) as Box<dyn Stream>) })
    }
}

// As a kernel's buffers: beyond them datagrams are lost and dials are refused.
const DATAGRAMS_MAX: usize = 1024;
const BACKLOG: usize = 256;
// As the bytes that TCP holds unsent (rule 35).
const STREAM_BYTES: usize = 128 << 10;
