//! What is particular to the transport over IP; what every transport must do is asked in `contract_transport.rs`.

mod common;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::within;
use slimcluster::transport::{Endpoint, Stream, Transport};
use slimcluster::{IpTransport, StartError};

async fn bind(transport: &impl Transport) -> Endpoint {
    Transport::bind(transport, slimcluster::transport::BindOptions::default()).await.expect("bound")
}

async fn receive(endpoint: &Endpoint) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) =
        within("a datagram", poll_fn(|cx| endpoint.datagrams.poll_receive(cx, &mut buffer))).await.expect("received");
    (buffer[..length].to_vec(), from)
}

async fn accept(endpoint: &Endpoint) -> (Box<dyn Stream>, SocketAddr) {
    within("a connection", poll_fn(|cx| endpoint.streams.poll_accept(cx))).await.expect("accepted")
}

#[tokio::test]
async fn a_port_alone_listens_on_the_loopback_interface() {
    assert_eq!(bind(&IpTransport::port(0)).await.address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
}

#[tokio::test]
async fn datagrams_and_streams_share_one_port_number() {
    let endpoint = bind(&IpTransport::port(0)).await;
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.send_to(b"hello", endpoint.address).await.unwrap();
    assert_eq!(receive(&endpoint).await.0, b"hello");
    let dialled = tokio::net::TcpStream::connect(endpoint.address).await.unwrap();
    assert_eq!(accept(&endpoint).await.1, dialled.local_addr().unwrap());
}

#[tokio::test]
async fn a_group_reaches_every_node_of_the_host_over_the_loopback_interface() {
    // A port of this test's own, so that nobody else's announcements come in between.
    let port = bind(&IpTransport::port(0)).await.address.port();
    let transport = IpTransport::port(0).multicast_on(Ipv4Addr::new(239, 1, 1, 77), port);
    let nodes = [bind(&transport).await, bind(&transport).await, bind(&transport).await];
    let sender = nodes[0].multicast.as_ref().expect("a group");
    sender.try_send(b"here I am").expect("sent");
    for node in &nodes {
        let group = node.multicast.as_ref().expect("a group");
        let mut buffer = [0; 64];
        let (length, from) =
            within("an announcement", poll_fn(|cx| group.poll_receive(cx, &mut buffer))).await.expect("received");
        assert_eq!(&buffer[..length], b"here I am");
        assert!(from.ip().is_loopback(), "{from}");
    }
}

#[tokio::test]
async fn what_cannot_be_bound_is_refused_with_one_sentence() {
    let problem = async |transport: IpTransport| {
        let bound = Transport::bind(&transport, slimcluster::transport::BindOptions::default()).await;
        bound.err().expect("refused").to_string()
    };
    let insecure = problem(IpTransport::port(0).bind("0.0.0.0")).await;
    assert!(insecure.contains(".allow_insecure()"), "{insecure}");
    assert!(problem(IpTransport::port(0).bind("::")).await.contains(".allow_insecure()"));
    let unknown = problem(IpTransport::port(0).bind("no-such-host.invalid")).await;
    assert!(unknown.contains("no-such-host.invalid"), "{unknown}");
    let taken = bind(&IpTransport::port(0)).await;
    let in_use = problem(IpTransport::port(taken.address.port())).await;
    assert!(in_use.contains("port is in use"), "{in_use}");

    let mut options = slimcluster::transport::BindOptions::default();
    options.allow_insecure = true;
    let elsewhere = Transport::bind(&IpTransport::port(0).bind("192.0.2.1"), options).await;
    assert!(matches!(elsewhere, Err(StartError::Address { .. })));
}

#[tokio::test]
async fn the_ipv6_wildcard_also_speaks_ipv4() {
    let mut options = slimcluster::transport::BindOptions::default();
    options.allow_insecure = true;
    let dual = Transport::bind(&IpTransport::port(0).bind("::"), options).await.expect("bound");
    let v4 = bind(&IpTransport::port(0)).await;
    let towards = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), dual.address.port());
    v4.datagrams.try_send(b"ping", towards).expect("sent");
    let (_, from) = receive(&dual).await;
    assert_eq!(from, v4.address, "shown as the IPv4 address that it is");
    dual.datagrams.try_send(b"pong", from).expect("sent");
    assert_eq!(within("an answer", receive(&v4)).await.0, b"pong");
}
