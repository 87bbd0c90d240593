//! UDP and TCP on one port number.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::multicast::{self, Group};
use super::{BindOptions, DatagramSocket, Endpoint, Stream, StreamListener, Transport};
use crate::discovery::BoxFuture;
use crate::error::StartError;

/// UDP and TCP on one port number, over IPv4 or IPv6: SWIM by datagrams, Raft by streams.
#[derive(Clone, Debug)]
pub struct IpTransport {
    host: String,
    port: u16,
    group: Option<Group>,
}

impl IpTransport {
    /// Listens on this port of the loopback interface, `127.0.0.1`, unless [`IpTransport::bind`] says otherwise. Port 0 takes a free one.
    pub fn port(port: u16) -> Self {
        IpTransport { host: "127.0.0.1".to_owned(), port, group: None }
    }

    /// Listens on this host's address: a name, an IPv4 address, or an IPv6 address with or without brackets. `0.0.0.0` and `::` listen on
    /// every interface. Other than loopback addresses need `allow_insecure()` on the builder as long as there is no encryption.
    #[must_use]
    pub fn bind(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Finds other nodes by announcements to this multicast group on port 60000, which all nodes of a host share.
    #[must_use]
    pub fn multicast(self, group: impl Into<IpAddr>) -> Self {
        self.multicast_on(group, multicast::PORT_DEFAULT)
    }

    /// As [`IpTransport::multicast`], on this port.
    #[must_use]
    pub fn multicast_on(mut self, group: impl Into<IpAddr>, port: u16) -> Self {
        self.group = Some(Group { address: group.into(), port });
        self
    }

    /// The address to bind: the first one that the host resolves to.
    async fn resolve(&self) -> Result<SocketAddr, StartError> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, self.port));
        }
        let mut found = tokio::net::lookup_host((host, self.port)).await.map_err(|error| {
            StartError::address(
                &self.host,
                format!("the name does not resolve ({error}); bind an address of this host"),
            )
        })?;
        found
            .next()
            .ok_or_else(|| StartError::address(&self.host, "the name has no address; bind an address of this host"))
    }
}

impl Transport for IpTransport {
    fn validate(&self) -> Result<(), StartError> {
        if self.host.is_empty() || self.host.len() > 255 || self.host.contains(char::is_whitespace) {
            return Err(StartError::option(
                "bind",
                &self.host,
                "give a name or an address of this host, such as 127.0.0.1",
            ));
        }
        self.group.as_ref().map_or(Ok(()), Group::validate)
    }

    fn bind(&self, options: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>> {
        Box::pin(async move {
            let wanted = self.resolve().await?;
            if wanted.ip().is_multicast() {
                return Err(StartError::address(
                    &self.host,
                    "this is a multicast group, not an address of this host; bind one of its own, and name the group with .multicast(..)",
                ));
            }
            if !wanted.ip().is_loopback() && !options.allow_insecure {
                return Err(StartError::Insecure { address: wanted });
            }
            let (listener, udp) = bind_pair(wanted)?;
            let address = listener.local_addr().map_err(|error| cannot_bind(wanted, &error))?;
            let group = self.group.as_ref().map(|group| multicast::join(group, address.ip())).transpose()?;
            Ok(Endpoint {
                address,
                datagrams: Box::new(Datagrams { socket: udp, v6: address.is_ipv6() }),
                streams: Arc::new(Streams(listener)),
                multicast: group,
            })
        })
    }
}

/// Binds TCP and UDP to the same port. With port 0 the port that TCP gets may be taken for UDP: then it tries another.
fn bind_pair(wanted: SocketAddr) -> Result<(TcpListener, UdpSocket), StartError> {
    let mut tries = if wanted.port() == 0 { FREE_PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let listener = bind_tcp(wanted).map_err(|error| cannot_bind(wanted, &error))?;
        let address = listener.local_addr().map_err(|error| cannot_bind(wanted, &error))?;
        match bind_udp(address) {
            Ok(udp) => return Ok((listener, udp)),
            Err(error) if tries == 0 => return Err(cannot_bind(address, &error)),
            Err(_) => {}
        }
    }
}

fn cannot_bind(address: SocketAddr, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use; stop what uses it or choose another port",
        io::ErrorKind::AddrNotAvailable => "this host has no such address; bind one that it has, or 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied => "the system forbids it; choose a port above 1023",
        _ => "choose another address or port",
    };
    StartError::address(address, format!("{remedy} ({error})"))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for connections of the former process to time out.
    socket.set_reuse_address(true)?;
    set_dual_stack(&socket, address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    set_dual_stack(&socket, address)?;
    // The kernel caps this silently at net.core.rmem_max; whatever it grants must hold the burst of one joining member's questions.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    let granted = socket.recv_buffer_size()?;
    if granted < UDP_BUFFER_BYTES_LOW {
        tracing::warn!("the UDP receive buffer is only {granted} bytes: bursts will be lost; raise net.core.rmem_max");
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// The IPv6 wildcard also takes IPv4; any other IPv6 address is just itself.
fn set_dual_stack(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(!address.ip().is_unspecified()) } else { Ok(()) }
}

/// What a dual-stack socket shows as `::ffff:a.b.c.d` is the IPv4 address a.b.c.d to everyone else.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::new(v6.ip().to_canonical(), v6.port()),
        other => other,
    }
}

struct Datagrams {
    socket: UdpSocket,
    v6: bool,
}

impl DatagramSocket for Datagrams {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        receive(&self.socket, cx, buffer)
    }

    fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let to = match to {
            SocketAddr::V4(v4) if self.v6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            other => other,
        };
        send(&self.socket, bytes, to)
    }
}

/// Sends at once or not at all. Asks the kernel itself: the event loop learns that a new socket is writable only in its next turn.
pub(super) fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
    SockRef::from(socket).send_to(bytes, &to.into()).map(drop)
}

pub(super) fn receive(
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<(usize, SocketAddr)>> {
    let mut buffer = ReadBuf::new(buffer);
    socket.poll_recv_from(cx, &mut buffer).map_ok(|from| (buffer.filled().len(), canonical(from)))
}

struct Streams(TcpListener);

impl StreamListener for Streams {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Stream>, SocketAddr)>> {
        self.0.poll_accept(cx).map(|accepted| {
            let (stream, from) = accepted?;
            tune(&stream)?;
            Ok((Box::new(stream) as Box<dyn Stream>, canonical(from)))
        })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            let stream = socket.connect(to).await?;
            tune(&stream)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Small frames leave at once, a heartbeat never waits behind data in the kernel (rule 35), and a peer that vanished is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    }
    Ok(())
}

const FREE_PORT_TRIES: usize = 16;
// Handshakes wait here only until the next turn of the event loop; a large cluster that restarts at once dials in one burst.
const BACKLOG: i32 = 1024;
// A thousand datagrams of full length with the kernel's own overhead.
const UDP_BUFFER_BYTES: usize = 4 << 20;
const UDP_BUFFER_BYTES_LOW: usize = 128 << 10;
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT_BYTES: u32 = 128 << 10;
const KEEPALIVE: Duration = Duration::from_secs(5);
// A connection whose bytes nobody acknowledges for this long is dead, whatever the kernel still hopes for.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
