//! The contract of a transport: ours keep it, and each of its cases catches a transport that does not.

#[path = "contract_transport_support/flawed.rs"]
mod flawed;

use std::net::{Ipv4Addr, UdpSocket};

use flawed::{Flaw, FlawedNetwork};
use slimcluster::contract::{self, Report};
use slimcluster::{IpTransport, MemoryNetwork};

#[test]
fn ipv4_keeps_the_contract() {
    contract::transport(|_| IpTransport::port(0)).check();
}

#[test]
fn ipv6_keeps_the_contract() {
    contract::transport(|_| IpTransport::port(0).bind("[::1]")).check();
}

#[test]
fn a_group_keeps_the_contract() {
    // A port of this test's own, so that nobody else's announcements come in between.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let transport = IpTransport::port(0).multicast_on(Ipv4Addr::new(239, 1, 1, 78), port);
    let report = contract::transport(move |_| transport.clone()).only("announcements_reach_the_whole_group").report();
    report.assert_kept();
    assert!(report.not_asked().is_empty(), "{report}");
}

#[test]
fn a_memory_network_keeps_the_contract() {
    let network = MemoryNetwork::new();
    contract::transport(move |node| network.port(node)).check();
}

#[test]
fn each_case_catches_a_transport_that_breaks_it() {
    use Flaw::*;
    let caught_by = [
        (NoPort, "a_node_is_reached_at_its_address"),
        (CutsDatagrams, "datagrams_arrive_whole"),
        (JoinsDatagrams, "a_burst_of_datagrams_is_neither_joined_nor_altered"),
        (TellsTheFullLength, "a_datagram_longer_than_the_buffer_fills_it"),
        (WrongSource, "the_source_of_a_datagram_can_be_answered"),
        (DiesOfNobody, "sending_a_datagram_to_nobody_harms_nobody"),
        (QueuesWithoutBound, "what_nobody_receives_is_bounded"),
        (NeverWakes, "a_receiver_that_waits_is_woken"),
        (DeafGroup, "announcements_reach_the_whole_group"),
        (ReordersBytes, "a_stream_carries_bytes_in_order_both_ways"),
        (IgnoresFlush, "what_is_flushed_arrives_without_more"),
        (NoSource, "an_accepted_stream_names_its_source"),
        (ShutsBothDirections, "shutting_down_ends_one_direction_after_all_bytes"),
        (NeverEnds, "the_end_of_a_peer_is_seen"),
        (TakesEverything, "a_writer_waits_for_a_reader_that_does_not_read"),
        (CrossesStreams, "many_streams_are_kept_apart"),
        (StallsTogether, "a_stalled_stream_stalls_nothing_else"),
        (SomebodyEverywhere, "a_dial_to_nobody_is_refused"),
        (KeepsTheGivenUp, "a_dial_that_is_given_up_harms_nobody"),
        (OutlivesItsEndpoint, "a_dropped_endpoint_ends_what_was_not_accepted"),
        (OutlivesItsEndpoint, "a_dropped_endpoint_frees_its_address_and_leaves_nothing_to_the_next"),
        (RemembersDatagrams, "a_dropped_endpoint_frees_its_address_and_leaves_nothing_to_the_next"),
        (SharesItsAddress, "an_address_has_one_holder"),
    ];
    let asked = |flaw, case| -> Report {
        let network = FlawedNetwork::new(flaw);
        contract::transport(move |node| network.node(node)).only(case).report()
    };
    // Side by side, because what never comes is waited for.
    std::thread::scope(|scope| {
        for (flaw, case) in caught_by {
            scope.spawn(move || {
                let report = asked(Some(flaw), case);
                assert_eq!(report.breached(), [case], "{flaw:?}: {report}");
            });
        }
    });
    let network = FlawedNetwork::new(None);
    let sound = contract::transport(move |node| network.node(node)).report();
    sound.assert_kept();
    let names = sound.names().into_iter();
    let uncaught: Vec<&str> = names.filter(|name| caught_by.iter().all(|(_, case)| case != name)).collect();
    assert!(uncaught.is_empty(), "nothing shows that these cases can fail: {uncaught:?}");
}
