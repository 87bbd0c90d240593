//! The multicast group by which nodes of one network find each other (rule 34).
//!
//! One socket receives, shared by port with the other nodes of the host; one socket per interface sends, bound to the interface's own
//! address, because receivers ping the address that they see as the source. Announcements never leave the network: their TTL is 1.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::MulticastSocket;
use super::ip::{receive, send};
use crate::error::StartError;

/// The port of announcements unless another is given.
pub(super) const PORT_DEFAULT: u16 = 60000;

/// A multicast group and its port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub address: IpAddr,
    pub port: u16,
}

impl Group {
    pub fn validate(&self) -> Result<(), StartError> {
        if !self.address.is_multicast() {
            let problem = "it is no multicast address; choose one such as 239.1.1.1 or ff02::6d";
            return Err(StartError::option("multicast", self.address, problem));
        }
        if self.port == 0 {
            return Err(StartError::option(
                "multicast",
                self.port,
                "every node must know the port; choose one, such as 60000",
            ));
        }
        Ok(())
    }
}

/// Joins `group` on the interfaces that a node bound to `bound` uses: on a loopback address the loopback interface only, on a wildcard all
/// others that are up, else the interface that has the address.
pub(super) fn join(group: &Group, bound: IpAddr) -> Result<Box<dyn MulticastSocket>, StartError> {
    let refuse = |problem: String| StartError::address(SocketAddr::new(group.address, group.port), problem);
    let interfaces = interfaces(group.address, bound)
        .map_err(|error| refuse(format!("the interfaces of this host cannot be listed ({error})")))?;
    let receiver =
        open_receiver(group).map_err(|error| refuse(format!("the multicast port cannot be shared ({error})")))?;
    let (mut senders, mut problems, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for interface in interfaces {
        match interface.join(group, &receiver) {
            Ok(sender) => {
                senders.push(sender);
                names.push(interface.name);
            }
            Err(error) => problems.push(format!("{}: {error}", interface.name)),
        }
    }
    if senders.is_empty() {
        let family = if group.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let problem = if problems.is_empty() {
            format!(
                "no interface of the bound address {bound} carries {family}; bind another address or choose another group"
            )
        } else {
            format!("no interface could join the group ({}); use seeds instead", problems.join("; "))
        };
        return Err(refuse(problem));
    }
    for problem in problems {
        tracing::warn!("multicast group {} is not used on interface {problem}", group.address);
    }
    let to = SocketAddr::new(group.address, group.port);
    let description = format!("{to} on {}", names.join(", "));
    let receiver = UdpSocket::from_std(receiver.into()).map_err(|error| refuse(error.to_string()))?;
    Ok(Box::new(Multicast { receiver, senders, to, description }))
}

struct Multicast {
    receiver: UdpSocket,
    senders: Vec<UdpSocket>,
    to: SocketAddr,
    description: String,
}

impl MulticastSocket for Multicast {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        receive(&self.receiver, cx, buffer)
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NotConnected.into());
        for sender in &self.senders {
            match send(sender, bytes, self.to) {
                Ok(()) => result = Ok(()),
                Err(error) if result.is_err() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

/// One interface with one of its addresses.
struct Interface {
    name: String,
    address: IpAddr,
    index: u32,
}

impl Interface {
    /// Joins the receiver to the group here, and opens the socket that sends here.
    fn join(&self, group: &Group, receiver: &Socket) -> io::Result<UdpSocket> {
        let sender = Socket::new(domain(group.address), Type::DGRAM, Some(Protocol::UDP))?;
        sender.set_nonblocking(true)?;
        match (group.address, self.address) {
            (IpAddr::V4(group), IpAddr::V4(address)) => {
                receiver.join_multicast_v4(&group, &address)?;
                sender.set_multicast_if_v4(&address)?;
                sender.set_multicast_ttl_v4(1)?;
                sender.set_multicast_loop_v4(true)?;
            }
            (IpAddr::V6(group), _) => {
                receiver.join_multicast_v6(&group, self.index)?;
                sender.set_only_v6(true)?;
                sender.set_multicast_if_v6(self.index)?;
                sender.set_multicast_hops_v6(1)?;
                sender.set_multicast_loop_v6(true)?;
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        }
        sender.bind(&SocketAddr::new(self.address, 0).into())?;
        UdpSocket::from_std(sender.into())
    }
}

/// The interfaces to use, each once, with an address of the group's family.
fn interfaces(group: IpAddr, bound: IpAddr) -> io::Result<Vec<Interface>> {
    let mut seen = BTreeSet::new();
    let chosen = if_addrs::get_if_addrs()?.into_iter().filter(|interface| {
        let address = interface.ip();
        let wanted = if bound.is_loopback() {
            interface.is_loopback()
        } else if bound.is_unspecified() {
            !interface.is_loopback()
        } else {
            address == bound
        };
        // A link-local sender cannot be pinged back without its scope, which an address on the wire does not carry.
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        wanted && address.is_ipv4() == group.is_ipv4() && !link_local && seen.insert(interface.name.clone())
    });
    let chosen = chosen.map(|interface| Interface {
        address: interface.ip(),
        index: interface.index.unwrap_or(0),
        name: interface.name,
    });
    Ok(chosen.collect())
}

fn open_receiver(group: &Group) -> io::Result<Socket> {
    let socket = Socket::new(domain(group.address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Every node of the host listens on the same port.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    if group.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Where the system can, the socket is bound to the group itself, so that nothing else that arrives at the port comes here.
    let bound = if cfg!(unix) { group.address } else { unspecified(group.address) };
    socket.bind(&SocketAddr::new(bound, group.port).into())?;
    Ok(socket)
}

fn domain(address: IpAddr) -> Domain {
    if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}

fn unspecified(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}
