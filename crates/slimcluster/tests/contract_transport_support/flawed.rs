//! The memory network with one thing wrong.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slimcluster::discovery::BoxFuture;
use slimcluster::transport::{
    BindOptions, DatagramSocket, Endpoint, MemoryTransport, MulticastSocket, Stream, StreamListener, Transport,
};
use slimcluster::{MemoryNetwork, StartError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One promise that the transport breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    NoPort,
    CutsDatagrams,
    JoinsDatagrams,
    TellsTheFullLength,
    WrongSource,
    DiesOfNobody,
    QueuesWithoutBound,
    NeverWakes,
    DeafGroup,
    ReordersBytes,
    IgnoresFlush,
    NoSource,
    ShutsBothDirections,
    NeverEnds,
    TakesEverything,
    CrossesStreams,
    StallsTogether,
    SomebodyEverywhere,
    KeepsTheGivenUp,
    OutlivesItsEndpoint,
    RemembersDatagrams,
    SharesItsAddress,
}

/// The network.
#[derive(Clone)]
pub struct FlawedNetwork {
    network: MemoryNetwork,
    flaw: Option<Flaw>,
    shared: Arc<Shared>,
}

/// What should not be shared, or not be kept.
#[derive(Default)]
struct Shared {
    datagrams: Mutex<BTreeMap<SocketAddr, VecDeque<Vec<u8>>>>,
    last_written: Mutex<Vec<u8>>,
    is_stalled: AtomicBool,
    streams: Mutex<Vec<Box<dyn Stream>>>,
}

impl FlawedNetwork {
    pub fn new(flaw: Option<Flaw>) -> Self {
        FlawedNetwork { network: MemoryNetwork::new(), flaw, shared: Arc::default() }
    }

    pub fn node(&self, port: u16) -> FlawedTransport {
        FlawedTransport { inner: self.network.port(port), network: self.clone(), port }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }
}

/// One node's place in the network.
pub struct FlawedTransport {
    inner: MemoryTransport,
    network: FlawedNetwork,
    port: u16,
}

impl Transport for FlawedTransport {
    fn bind(&self, options: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>> {
        Box::pin(async move {
            let network = self.network.clone();
            let mut bound = match self.inner.bind(options).await {
                Err(_) if network.is(Flaw::SharesItsAddress) => {
                    let mut other = network.network.port(40_000).bind(options).await?;
                    other.address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
                    other
                }
                bound => bound?,
            };
            let address = bound.address;
            if network.is(Flaw::NoPort) {
                bound.address.set_port(0);
            }
            if network.is(Flaw::OutlivesItsEndpoint) {
                std::mem::forget(Arc::clone(&bound.streams));
            }
            if network.is(Flaw::DeafGroup) {
                bound.multicast = Some(Box::new(Deaf));
            }
            let datagrams = FlawedDatagrams {
                inner: bound.datagrams,
                network: network.clone(),
                address,
                held: Mutex::default(),
                has_died: AtomicBool::new(false),
            };
            Ok(Endpoint {
                datagrams: Box::new(datagrams),
                streams: Arc::new(FlawedListener { inner: bound.streams, network }),
                ..bound
            })
        })
    }
}

struct Deaf;

impl MulticastSocket for Deaf {
    fn poll_receive(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        Poll::Pending
    }

    fn try_send(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn describe(&self) -> String {
        "a group that nobody hears".to_owned()
    }
}

struct FlawedDatagrams {
    inner: Box<dyn DatagramSocket>,
    network: FlawedNetwork,
    address: SocketAddr,
    held: Mutex<Option<Vec<u8>>>,
    has_died: AtomicBool,
}

impl DatagramSocket for FlawedDatagrams {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let is = |flaw| self.network.is(flaw);
        if is(Flaw::DiesOfNobody) && self.has_died.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        if let Some(kept) = self.network.shared.datagrams.lock().unwrap().get_mut(&self.address)
            && let Some(datagram) = kept.pop_front()
        {
            let length = datagram.len().min(buffer.len());
            buffer[..length].copy_from_slice(&datagram[..length]);
            return Poll::Ready(Ok((length, self.address)));
        }
        let mut nobody = Context::from_waker(Waker::noop());
        let cx = if is(Flaw::NeverWakes) { &mut nobody } else { cx };
        self.inner.poll_receive(cx, buffer).map_ok(|(length, mut from)| {
            if is(Flaw::WrongSource) {
                from.set_port(9);
            }
            let is_full = length == buffer.len();
            (if is_full && is(Flaw::TellsTheFullLength) { length + 1 } else { length }, from)
        })
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let keep = |bytes: &[u8]| {
            let mut kept = self.network.shared.datagrams.lock().unwrap();
            kept.entry(to).or_default().push_back(bytes.to_vec());
        };
        match self.network.flaw {
            Some(Flaw::CutsDatagrams) => self.inner.try_send(&bytes[..bytes.len().min(1024)], to),
            Some(Flaw::JoinsDatagrams) => {
                let mut held = self.held.lock().unwrap();
                if let Some(first) = held.take() {
                    return self.inner.try_send(&[&first, bytes].concat(), to);
                }
                *held = Some(bytes.to_vec());
                Ok(())
            }
            Some(Flaw::RemembersDatagrams) => {
                keep(bytes);
                Ok(())
            }
            Some(Flaw::QueuesWithoutBound) => self.inner.try_send(bytes, to).or_else(|_| {
                keep(bytes);
                Ok(())
            }),
            _ => self.inner.try_send(bytes, to).inspect_err(|_| self.has_died.store(true, Ordering::Relaxed)),
        }
    }
}

struct FlawedListener {
    inner: Arc<dyn StreamListener>,
    network: FlawedNetwork,
}

impl StreamListener for FlawedListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        self.inner.poll_accept(cx).map_ok(|(stream, from)| {
            let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
            (flawed(stream, &self.network), if self.network.is(Flaw::NoSource) { nowhere } else { from })
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let (dialling, network) = (self.inner.connect(to), self.network.clone());
        Box::pin(async move {
            let dialled = dialling.await;
            if network.is(Flaw::SomebodyEverywhere) && dialled.is_err() {
                let (near, far) = tokio::io::duplex(1000);
                network.shared.streams.lock().unwrap().push(Box::new(far));
                return Ok(Box::new(near) as Box<dyn Stream>);
            }
            let stream = dialled?;
            if !network.is(Flaw::KeepsTheGivenUp) {
                return Ok(flawed(stream, &network));
            }
            network.shared.streams.lock().unwrap().push(stream);
            // Whoever gives up here leaves the stream behind.
            tokio::time::sleep(Duration::from_millis(20)).await;
            network.shared.streams.lock().unwrap().pop().ok_or_else(|| io::ErrorKind::NotConnected.into())
        })
    }
}

fn flawed(inner: Box<dyn Stream>, network: &FlawedNetwork) -> Box<dyn Stream> {
    Box::new(FlawedStream { inner, network: network.clone(), held: Vec::new(), is_shut: false })
}

struct FlawedStream {
    inner: Box<dyn Stream>,
    network: FlawedNetwork,
    held: Vec<u8>,
    is_shut: bool,
}

impl AsyncRead for FlawedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_shut && self.network.is(Flaw::ShutsBothDirections) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let read = &mut buffer.filled_mut()[before..];
        if self.network.is(Flaw::ReordersBytes) && read.len() >= 2 {
            read.swap(0, 1);
        }
        if self.network.is(Flaw::NeverEnds) && polled.is_ready() && read.is_empty() {
            return Poll::Pending;
        }
        polled
    }
}

impl AsyncWrite for FlawedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let shared = Arc::clone(&self.network.shared);
        match self.network.flaw {
            Some(Flaw::IgnoresFlush) if self.held.len() + bytes.len() < 64 << 10 => {
                self.held.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            Some(Flaw::TakesEverything) => match Pin::new(&mut self.inner).poll_write(cx, bytes) {
                Poll::Pending => {
                    self.held.extend_from_slice(bytes);
                    Poll::Ready(Ok(bytes.len()))
                }
                ready => ready,
            },
            Some(Flaw::CrossesStreams) => {
                let other = std::mem::replace(&mut *shared.last_written.lock().unwrap(), bytes.to_vec());
                let written = if other.len() == bytes.len() { &other } else { bytes };
                Pin::new(&mut self.inner).poll_write(cx, written)
            }
            Some(Flaw::StallsTogether) if shared.is_stalled.load(Ordering::Relaxed) => Poll::Pending,
            _ => {
                let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
                shared.is_stalled.store(polled.is_pending(), Ordering::Relaxed);
                polled
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
