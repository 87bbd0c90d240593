//! The suite: how it is given transports, and the list of its cases.

use std::sync::atomic::{AtomicU16, Ordering};

use super::network::on_loop;
use super::{datagrams, endpoints, streams};
use crate::StartError;
use crate::contract::case::{self, Case, Report};
use crate::discovery::BoxFuture;
use crate::transport::{BindOptions, Endpoint, Transport};

/// The contract of [`Transport`], to be checked; made by [`transport`].
#[must_use = "nothing is asked before `check` or `report`"]
pub struct TransportContract {
    bench: Bench,
    only: Option<String>,
}

/// What the cases are given.
pub(super) struct Bench {
    make: Box<Make>,
    next: AtomicU16,
    pub options: BindOptions,
    pub seed: u64,
}

type Make = dyn Fn(u16) -> Box<dyn Bind> + Send + Sync;

/// A transport of any type.
pub(super) trait Bind: Send + Sync {
    fn validate(&self) -> Result<(), StartError>;
    fn bind(&self, options: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>>;
}

impl<T: Transport> Bind for T {
    fn validate(&self) -> Result<(), StartError> {
        Transport::validate(self)
    }

    fn bind(&self, options: BindOptions) -> BoxFuture<'_, Result<Endpoint, StartError>> {
        Transport::bind(self, options)
    }
}

/// The contract of the transports that `make` makes. It gets a number from 1 on that no other call gets, and gives a transport for another node
/// of one and the same network.
///
/// ```
/// use slimcluster::{MemoryNetwork, contract};
///
/// let network = MemoryNetwork::new();
/// contract::transport(move |node| network.port(node)).check();
/// ```
pub fn transport<T: Transport>(make: impl Fn(u16) -> T + Send + Sync + 'static) -> TransportContract {
    let make: Box<Make> = Box::new(move |node| Box::new(make(node)));
    let bench = Bench { make, next: AtomicU16::new(1), options: BindOptions::default(), seed: SEED_DEFAULT };
    TransportContract { bench, only: None }
}

impl Bench {
    /// A transport for another node.
    pub fn node(&self) -> Box<dyn Bind> {
        (self.make)(self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl TransportContract {
    /// Binds as a node does whose user accepts that other hosts can reach it without encryption.
    pub fn allow_insecure(mut self) -> TransportContract {
        self.bench.options.allow_insecure = true;
        self
    }

    /// Draws sizes from this seed, which every report prints.
    pub fn seed(mut self, seed: u64) -> TransportContract {
        self.bench.seed = seed;
        self
    }

    /// Asks only the case of this name: to look at one breach.
    pub fn only(mut self, name: &str) -> TransportContract {
        self.only = Some(name.to_owned());
        self
    }

    /// Asks every case.
    ///
    /// # Panics
    /// With the report, if a promise was not kept.
    #[track_caller]
    pub fn check(self) {
        self.report().assert_kept();
    }

    /// Asks every case and gives the findings, for a test that expects a breach.
    pub fn report(self) -> Report {
        case::run("transport", self.bench.seed, cases(), self.bench, self.only.as_deref())
    }
}

const SEED_DEFAULT: u64 = 1;

fn cases() -> Vec<Case<Bench>> {
    vec![
        Case {
            name: "a_node_is_reached_at_its_address",
            why: "what a node is bound to is what it advertises, unless it is told otherwise",
            rule: "rule 34",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_node_is_reached_at_its_address(bench)),
        },
        Case {
            name: "datagrams_arrive_whole",
            why: "a datagram is one message with one checksum",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(datagrams::arrive_whole(bench)),
        },
        Case {
            name: "a_burst_of_datagrams_is_neither_joined_nor_altered",
            why: "members are probed and answer at any rate; loss is allowed, invention is not",
            rule: "`DatagramSocket`",
            unless: |_| None,
            run: |bench| on_loop(datagrams::a_burst_is_not_altered(bench)),
        },
        Case {
            name: "a_datagram_longer_than_the_buffer_fills_it",
            why: "the receiver tells by the length that something was too long, and drops it",
            rule: "`DatagramSocket::poll_receive`",
            unless: |_| None,
            run: |bench| on_loop(datagrams::a_long_one_fills_the_buffer(bench)),
        },
        Case {
            name: "the_source_of_a_datagram_can_be_answered",
            why: "a joiner is known by nothing but the source of its first datagram",
            rule: "rule 34",
            unless: |_| None,
            run: |bench| on_loop(datagrams::the_source_can_be_answered(bench)),
        },
        Case {
            name: "sending_a_datagram_to_nobody_harms_nobody",
            why: "members crash; probing them must not cost the socket",
            rule: "`DatagramSocket::try_send`",
            unless: |_| None,
            run: |bench| on_loop(datagrams::sending_to_nobody(bench)),
        },
        Case {
            name: "what_nobody_receives_is_bounded",
            why: "a queue without a bound is a process without memory",
            rule: "architecture invariant 8",
            unless: |_| None,
            run: |bench| on_loop(datagrams::what_nobody_receives_is_bounded(bench)),
        },
        Case {
            name: "a_receiver_that_waits_is_woken",
            why: "the event loop sleeps until it is",
            rule: "`poll_receive`, `poll_accept`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_receiver_that_waits_is_woken(bench)),
        },
        Case {
            name: "announcements_reach_the_whole_group",
            why: "nodes that know nobody find each other, and know themselves in what they hear",
            rule: "rule 34",
            unless: datagrams::without_group,
            run: |bench| on_loop(datagrams::announcements_reach_the_group(bench)),
        },
        Case {
            name: "a_stream_carries_bytes_in_order_both_ways",
            why: "frames follow each other without marks between them: one byte out of place ends the link",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(streams::bytes_in_order(bench)),
        },
        Case {
            name: "what_is_flushed_arrives_without_more",
            why: "a heartbeat must not wait for a buffer to fill",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(streams::what_is_flushed_arrives(bench)),
        },
        Case {
            name: "an_accepted_stream_names_its_source",
            why: "connections that say nothing are counted by the host that they come from",
            rule: "`StreamListener::poll_accept`",
            unless: |_| None,
            run: |bench| on_loop(streams::an_accepted_stream_names_its_source(bench)),
        },
        Case {
            name: "shutting_down_ends_one_direction_after_all_bytes",
            why: "the last words of a node that leaves are written just before it closes",
            rule: "rule 30",
            unless: |_| None,
            run: |bench| on_loop(streams::shutting_down_ends_one_direction(bench)),
        },
        Case {
            name: "the_end_of_a_peer_is_seen",
            why: "a node that is gone is replaced, not waited for",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(streams::the_end_of_a_peer_is_seen(bench)),
        },
        Case {
            name: "a_writer_waits_for_a_reader_that_does_not_read",
            why: "the driver bounds its own queues and relies on the stream to take no more than it can pass on",
            rule: "architecture invariant 8",
            unless: |_| None,
            run: |bench| on_loop(streams::a_writer_waits(bench)),
        },
        Case {
            name: "many_streams_are_kept_apart",
            why: "each peer has links of its own, two in each direction",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(streams::many_streams_are_kept_apart(bench)),
        },
        Case {
            name: "a_stalled_stream_stalls_nothing_else",
            why: "one slow follower must not cost the leader the others",
            rule: "rule 35",
            unless: |_| None,
            run: |bench| on_loop(streams::a_stalled_stream_stalls_nothing_else(bench)),
        },
        Case {
            name: "a_dial_to_nobody_is_refused",
            why: "the dialler tries the next address at once where it is told that nobody is there",
            rule: "`StreamListener::connect`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_dial_to_nobody_is_refused(bench)),
        },
        Case {
            name: "a_dial_that_is_given_up_harms_nobody",
            why: "the driver gives up by dropping the future",
            rule: "`StreamListener::connect`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_dial_given_up(bench)),
        },
        Case {
            name: "a_dropped_endpoint_ends_what_was_not_accepted",
            why: "a dialler must not talk for ever to a node that stopped before it answered",
            rule: "`Transport::bind`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_dropped_endpoint_ends_what_was_not_accepted(bench)),
        },
        Case {
            name: "a_dropped_endpoint_frees_its_address_and_leaves_nothing_to_the_next",
            why: "a node restarts at the same address, and must not hear what was said to its predecessor",
            rule: "`Transport::bind`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::a_dropped_endpoint_frees_its_address(bench)),
        },
        Case {
            name: "an_address_has_one_holder",
            why: "two nodes that share an address each hear half of what is said to them",
            rule: "`Transport::bind`",
            unless: |_| None,
            run: |bench| on_loop(endpoints::an_address_has_one_holder(bench)),
        },
    ]
}
