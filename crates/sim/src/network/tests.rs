//! One fault at a time, between two places.

use std::net::SocketAddr;

use bytes::Bytes;
use slimcluster_core::node::io::{Lane, LinkId};
use slimcluster_core::random::Random;
use slimcluster_core::wire::FRAME_BYTES_MAX;

use super::{Arrival, Endpoint, Network, NetworkFaults, Packet, SlowReader};

const SECOND: u64 = 1_000_000;
const DIALLER: Endpoint = Endpoint { place: 0, start: 1 };
const LISTENER: Endpoint = Endpoint { place: 1, start: 1 };
const DIALLED: LinkId = LinkId(1);

/// A network, its packets and its clock.
struct Wire {
    network: Network,
    packets: Vec<(u64, Packet)>,
    now: u64,
}

impl Wire {
    fn new(faults: NetworkFaults) -> Self {
        let mut network = Network::new(2, Random::new(7), faults);
        network.listen(address(LISTENER), LISTENER);
        network.listen(address(DIALLER), DIALLER);
        Wire { network, packets: Vec::new(), now: 0 }
    }

    /// With a connection that stands.
    fn connected(faults: NetworkFaults) -> Self {
        let mut wire = Wire::new(faults);
        wire.network.connect(0, DIALLER, DIALLED, address(LISTENER));
        let arrivals = wire.until(SECOND);
        assert!(matches!(arrivals[..], [(_, Arrival::Accepted(..)), (_, Arrival::Connected(DIALLED))]));
        wire
    }

    fn send(&mut self, lane: Lane, bytes: usize) {
        self.network.send_frame(self.now, DIALLER, DIALLED, lane, vec![0; bytes].into());
    }

    /// What arrives up to a time, and where.
    fn until(&mut self, time: u64) -> Vec<(Endpoint, Arrival)> {
        let mut arrivals = Vec::new();
        loop {
            self.packets.extend(self.network.take_sent());
            self.packets.sort_by_key(|(at, _)| *at);
            if self.packets.first().is_none_or(|(at, _)| *at > time) {
                self.now = time;
                return arrivals;
            }
            let (at, packet) = self.packets.remove(0);
            self.now = self.now.max(at);
            arrivals.extend(self.network.arrive(self.now, packet));
        }
    }

    /// The sizes of the frames that arrive up to a time.
    fn frames(&mut self, time: u64) -> Vec<usize> {
        sizes(&self.until(time))
    }
}

fn sizes(arrivals: &[(Endpoint, Arrival)]) -> Vec<usize> {
    let size = |(_, arrival): &(Endpoint, Arrival)| match arrival {
        Arrival::Frame(_, bytes) => Some(bytes.len()),
        _ => None,
    };
    arrivals.iter().filter_map(size).collect()
}

/// Who learns that a link is gone.
fn told(arrivals: &[(Endpoint, Arrival)]) -> Vec<Endpoint> {
    let gone = |(_, arrival): &&(Endpoint, Arrival)| matches!(arrival, Arrival::Disconnected(..));
    arrivals.iter().filter(gone).map(|(endpoint, _)| *endpoint).collect()
}

fn address(endpoint: Endpoint) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, endpoint.place as u8 + 1], 7_000))
}

#[test]
fn a_large_frame_in_a_hole_holds_up_all_behind_it_until_the_hole_is_filled() {
    let mut wire = Wire::connected(NetworkFaults::HEALTHY);
    wire.network.hole(0, 1, 1_000, true);
    [1_000, 1_001, 10].into_iter().for_each(|bytes| wire.send(Lane::Log, bytes));
    assert_eq!(wire.frames(3 * SECOND), [1_000]);
    wire.network.hole(0, 1, 1_000, false);
    assert_eq!(wire.frames(4 * SECOND), [1_001, 10]);
}

#[test]
fn a_sender_gives_up_a_frame_that_stays_in_a_hole() {
    let mut wire = Wire::connected(NetworkFaults::HEALTHY);
    wire.network.hole(0, 1, 1_000, true);
    wire.send(Lane::Log, 1_001);
    assert_eq!(told(&wire.until(10 * SECOND)), [DIALLER]);
}

#[test]
fn a_hole_is_in_one_direction_and_small_datagrams_pass_it() {
    let mut wire = Wire::new(NetworkFaults::HEALTHY);
    wire.network.hole(0, 1, 500, true);
    let (a, b) = (address(DIALLER), address(LISTENER));
    for bytes in [500, 501] {
        wire.network.send_datagram(wire.now, 0, a, b, Bytes::from(vec![0; bytes]));
        wire.network.send_datagram(wire.now, 1, b, a, Bytes::from(vec![0; bytes]));
    }
    let arrivals = wire.until(SECOND);
    assert_eq!(arrivals.iter().filter(|(to, _)| *to == LISTENER).count(), 1);
    assert_eq!(arrivals.iter().filter(|(to, _)| *to == DIALLER).count(), 2);
}

#[test]
fn holes_of_the_network_itself_end_with_its_faults() {
    let mut wire = Wire::connected(NetworkFaults { holes: SECOND, hole_bytes: 300, ..NetworkFaults::HEALTHY });
    wire.send(Lane::Log, 301);
    assert!(wire.frames(2 * SECOND).is_empty());
    wire.network.faults = NetworkFaults::HEALTHY;
    assert_eq!(wire.frames(3 * SECOND), [301]);
}

#[test]
fn a_slow_reader_takes_its_time_and_control_frames_overtake_what_is_still_at_the_sender() {
    let mut wire = Wire::connected(NetworkFaults::HEALTHY);
    let reader = SlowReader { bytes_per_second: 40_000, queue_bytes_max: 1 << 20 };
    wire.network.set_reader(wire.now, 1, Some(reader));
    (0..4).for_each(|_| wire.send(Lane::Log, 40_000));
    wire.send(Lane::Control, 50);
    let began = wire.now;
    assert_eq!(wire.frames(began + 5 * SECOND / 2), [40_000, 50]);
    wire.network.set_reader(wire.now, 1, None);
    assert_eq!(wire.frames(began + 3 * SECOND), [40_000; 3]);
}

#[test]
fn the_queue_of_a_slow_reader_is_bounded() {
    let mut wire = Wire::connected(NetworkFaults::HEALTHY);
    let reader = SlowReader { bytes_per_second: 1_000, queue_bytes_max: 10_000 };
    wire.network.set_reader(wire.now, 1, Some(reader));
    (0..10).for_each(|_| wire.send(Lane::Log, 1_000));
    assert_eq!(told(&wire.until(3 * SECOND / 2)), []);
    (0..2).for_each(|_| wire.send(Lane::Log, 1_000));
    let mut told = told(&wire.until(2 * SECOND));
    told.sort();
    assert_eq!(told, [DIALLER, LISTENER]);
}

#[test]
fn a_connection_that_nobody_takes_stands_for_its_dialler_and_stays_silent() {
    let mut wire = Wire::new(NetworkFaults { silent_accept: SECOND, ..NetworkFaults::HEALTHY });
    wire.network.connect(0, DIALLER, DIALLED, address(LISTENER));
    assert!(matches!(wire.until(SECOND)[..], [(DIALLER, Arrival::Connected(DIALLED))]));
    wire.send(Lane::Control, 100);
    assert!(wire.until(100 * SECOND).is_empty());
    assert!(!wire.network.is_linked(0, 1));
    wire.network.close(wire.now, DIALLER, DIALLED);
    assert!(wire.until(200 * SECOND).is_empty());
}

#[test]
fn a_message_is_cut_behind_one_of_its_first_frames_and_a_short_one_is_not() {
    let mut wire = Wire::connected(NetworkFaults::HEALTHY);
    wire.network.cut_in_message(1, Random::new(1));
    wire.send(Lane::Log, FRAME_BYTES_MAX - 1);
    assert_eq!(wire.frames(2 * SECOND), [FRAME_BYTES_MAX - 1]);
    (0..2).for_each(|_| wire.send(Lane::Log, FRAME_BYTES_MAX));
    wire.send(Lane::Log, 100);
    let arrivals = wire.until(60 * SECOND);
    assert_eq!(sizes(&arrivals), [FRAME_BYTES_MAX]);
    assert!(!told(&arrivals).is_empty() && !wire.network.is_linked(0, 1));
}
