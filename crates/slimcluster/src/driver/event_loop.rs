//! The turn of the loop.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use slimcluster_core::node::Node;
use slimcluster_core::node::io::{Input, LinkId, Meta, Output, Submit};
use slimcluster_core::storage::Fetched;
use slimcluster_core::{GroupId, Index, Instant, WallTime};
use tokio::task::spawn_local;
use tokio::time::sleep_until;

use super::answers::Answers;
use super::apply_thread::{self, ApplyThread};
use super::datagrams::{receive_announcements, receive_datagrams};
use super::inbox::Request;
use super::links::Links;
use super::publish::Publisher;
use super::resolve::Sources;
use super::shared::Shared;
use super::wal_thread::{self, WalThread};
use crate::discovery::Discover;
use crate::storage::StorageReader;
use crate::transport::{DatagramSocket, Endpoint, MulticastSocket, Stream, StreamListener};

/// What the tasks on the loop's own thread have for it. Clones are the same.
#[derive(Clone)]
pub(super) struct Arrivals(Rc<ArrivalsInner>);

struct ArrivalsInner {
    waiting: RefCell<Vec<Arrival>>,
    bytes: Cell<usize>,
    dropped: Cell<u64>,
    shared: Arc<Shared>,
}

/// One thing that arrived.
pub(super) enum Arrival {
    /// Something for the core.
    Input(Input),
    /// A peer has dialled.
    Stream(Box<dyn Stream>, SocketAddr),
    /// A link has ended by itself.
    Ended(LinkId, String),
}

// What one turn of the loop takes in: a reader waits, a datagram is lost, when the loop is this far behind.
const ARRIVED_BYTES_MAX: usize = 16 << 20;

impl Arrivals {
    pub fn new(shared: Arc<Shared>) -> Self {
        let inner = ArrivalsInner { waiting: RefCell::default(), bytes: Cell::new(0), dropped: Cell::new(0), shared };
        Arrivals(Rc::new(inner))
    }

    pub fn push(&self, input: Input) {
        self.add(Arrival::Input(input), 0);
    }

    pub fn push_ended(&self, link: LinkId, reason: String) {
        self.add(Arrival::Ended(link, reason), 0);
    }

    pub fn push_frame(&self, link: LinkId, bytes: Bytes) {
        let length = bytes.len();
        self.add(Arrival::Input(Input::Frame { link, bytes }), length);
    }

    pub fn push_datagram(&self, input: Input, length: usize) {
        if self.0.bytes.get() < ARRIVED_BYTES_MAX {
            self.add(Arrival::Input(input), length);
        } else {
            self.drop_datagram();
        }
    }

    pub fn drop_datagram(&self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }

    /// Datagrams dropped here so far.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Waits until the loop has taken enough of what arrived.
    pub async fn wait_for_room(&self) {
        while self.0.bytes.get() >= ARRIVED_BYTES_MAX {
            tokio::task::yield_now().await;
        }
    }

    fn add(&self, arrival: Arrival, length: usize) {
        let mut waiting = self.0.waiting.borrow_mut();
        // Even an empty frame costs something to handle.
        self.0.bytes.set(self.0.bytes.get() + length + ARRIVAL_BYTES);
        if waiting.is_empty() {
            self.0.shared.inbox.wake();
        }
        waiting.push(arrival);
    }

    fn take(&self) -> Vec<Arrival> {
        self.0.bytes.set(0);
        self.0.waiting.take()
    }
}

const ARRIVAL_BYTES: usize = 64;

/// The node's time: starts with the node, never goes back.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    started: std::time::Instant,
}

impl Clock {
    pub fn start() -> Self {
        Clock { started: std::time::Instant::now() }
    }

    pub fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn at(self, instant: Instant) -> tokio::time::Instant {
        // A deadline beyond what the clock can show never comes.
        let never = Duration::from_secs(86_400 * 365);
        let since = Duration::from_micros(instant.as_micros()).min(self.started.elapsed() + never);
        tokio::time::Instant::from_std(self.started + since)
    }
}

/// Everything that one node runs on.
pub(super) struct EventLoop {
    pub node: Node,
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pub io: Io,
    pub workers: Option<Workers>,
}

/// The node's sockets and sources.
pub(super) struct Io {
    pub arrivals: Arrivals,
    links: Links,
    datagrams: Arc<dyn DatagramSocket>,
    multicast: Option<Arc<dyn MulticastSocket>>,
    sources: Sources,
}

/// The threads and the reader of a node with consensus.
pub(super) struct Workers {
    pub wal: WalThread,
    pub apply: ApplyThread,
    pub reader: Arc<dyn StorageReader>,
}

impl Io {
    /// Starts to receive.
    pub fn new(endpoint: Endpoint, sources: Vec<Arc<dyn Discover>>, arrivals: Arrivals) -> Self {
        let Endpoint { datagrams, streams, multicast, .. } = endpoint;
        let datagrams: Arc<dyn DatagramSocket> = datagrams.into();
        let multicast: Option<Arc<dyn MulticastSocket>> = multicast.map(Into::into);
        spawn_local(receive_datagrams(Arc::clone(&datagrams), arrivals.clone()));
        if let Some(multicast) = &multicast {
            spawn_local(receive_announcements(Arc::clone(multicast), arrivals.clone()));
        }
        spawn_local(accept(Arc::clone(&streams), arrivals.clone()));
        let sources = Sources::new(sources, arrivals.clone());
        Io { links: Links::new(streams, arrivals.clone()), datagrams, multicast, sources, arrivals }
    }
}

async fn accept(listener: Arc<dyn StreamListener>, arrivals: Arrivals) {
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((stream, from)) => arrivals.add(Arrival::Stream(stream, from), 0),
            Err(error) => {
                // Out of file descriptors, or a peer that was gone before it was accepted.
                tracing::debug!("accepting a connection failed: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How a loop goes on after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Wait,
    Stopped,
    Aborted,
}

impl EventLoop {
    /// Runs the node until it has stopped; its threads have ended then.
    pub async fn run(mut self) {
        let mut publisher = Publisher::new(Arc::clone(&self.shared));
        let mut answers = Answers::default();
        let mut stop_by = None;
        let end = loop {
            let due = self.node.poll_timeout().filter(|deadline| *deadline <= self.clock.now());
            if due.is_some() {
                // Whatever lies in a socket by now has arrived before the timeout is judged: this lets its task fetch it.
                tokio::task::yield_now().await;
            }
            match self.turn(due, &mut publisher, &mut answers, &mut stop_by) {
                Turn::Wait => {}
                end => break end,
            }
            if stop_by.is_some_and(|at| at <= self.clock.now()) {
                tracing::warn!(node = self.shared.node_name, "the node did not stop in order within {STOP_MAX:?}");
                break Turn::Stopped;
            }
            let deadline = self.node.poll_timeout().into_iter().chain(stop_by).min();
            match deadline {
                Some(deadline) => tokio::select! {
                    biased;
                    () = self.shared.inbox.woken() => {}
                    () = sleep_until(self.clock.at(deadline)) => {}
                },
                None => self.shared.inbox.woken().await,
            }
        };
        self.end(end).await;
        publisher.stopped("the node was shut down".to_owned());
    }

    /// One turn: everything that arrived, then the timeout that was due, then everything that follows from them.
    fn turn(
        &mut self,
        due: Option<Instant>,
        publisher: &mut Publisher,
        answers: &mut Answers,
        stop_by: &mut Option<Instant>,
    ) -> Turn {
        let now = self.clock.now();
        // Before anything that may become an entry: peers forward commands, too.
        self.node.handle(now, Input::WallTime(wall_time()));
        for arrival in self.io.arrivals.take() {
            self.arrived(now, arrival);
        }
        let waiting = self.shared.inbox.take();
        for report in waiting.reports {
            self.node.handle(now, report);
        }
        for request in waiting.requests {
            match request {
                Request::Abort => return Turn::Aborted,
                Request::Shutdown | Request::Leave => {
                    stop_by.get_or_insert(now + STOP_MAX);
                    let leave = matches!(request, Request::Leave);
                    self.node.handle(now, if leave { Input::Leave } else { Input::Shutdown });
                }
                request => self.requested(now, request, answers),
            }
        }
        if let Some(due) = due {
            self.node.handle(now, Input::Lateness(now.since(due)));
            self.node.handle(now, Input::Timeout);
        }
        let mut turn = Turn::Wait;
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Submitted { request, outcome } => answers.submitted(request, outcome),
                Output::ReadReady { request, index } => answers.read_ready(request, index),
                Output::Event(event) => publisher.event(now, &self.node, event),
                Output::Stopped => turn = Turn::Stopped,
                output => self.carry_out(output),
            }
        }
        self.io.links.flush();
        publisher.view(now, &self.node, self.io.arrivals.dropped());
        turn
    }

    fn arrived(&mut self, now: Instant, arrival: Arrival) {
        let links = &mut self.io.links;
        match arrival {
            Arrival::Input(Input::Frame { link, bytes }) => {
                // Frames of a link that the core has closed meanwhile are nobody's.
                if links.contains(link) {
                    links.prove(link);
                    self.node.handle(now, Input::Frame { link, bytes });
                }
            }
            Arrival::Input(Input::Connected(link)) if !links.contains(link) => {}
            Arrival::Input(input) => self.node.handle(now, input),
            Arrival::Stream(stream, from) => {
                if let Some(link) = links.accept(stream, from) {
                    self.node.handle(now, Input::Accepted { link, from });
                }
            }
            Arrival::Ended(link, reason) => {
                if links.ended(link) {
                    tracing::debug!("connection {} ended: {reason}", link.0);
                    self.node.handle(now, Input::Disconnected { link, reason });
                }
            }
        }
    }

    fn requested(&mut self, now: Instant, request: Request, answers: &mut Answers) {
        match request {
            Request::Submit { machine, codec, version, command, answer } => {
                let request = answers.submit(answer);
                self.node.handle(now, Input::Submit(Submit { request, machine, codec, version, command }));
            }
            Request::Resubmit { id, answer } => {
                let request = answers.submit(answer);
                self.node.handle(now, Input::Resubmit { request, id });
            }
            Request::Read { answer } => {
                let request = answers.read(answer);
                self.node.handle(now, Input::Read { request });
            }
            Request::Register { name, machine } => {
                if let Some(workers) = &self.workers {
                    workers.apply.send(apply_thread::Job::Register(name.clone(), machine));
                }
                self.node.handle(now, Input::Register { name });
            }
            Request::Advertise(http) => {
                let consensus = self.shared.consensus;
                self.node.handle(now, Input::Advertise(Meta { http, consensus }));
            }
            Request::Leave | Request::Shutdown | Request::Abort => {}
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Datagram { to, bytes } => {
                if let Err(error) = self.io.datagrams.try_send(&bytes, to) {
                    tracing::trace!("a datagram to {to} was lost: {error}");
                }
            }
            Output::Discover => self.io.sources.ask(),
            Output::Announce(bytes) => {
                if let Some(Err(error)) = self.io.multicast.as_ref().map(|multicast| multicast.try_send(&bytes)) {
                    tracing::debug!("an announcement was lost: {error}");
                }
            }
            Output::Connect { link, to } => self.io.links.connect(link, to),
            Output::Frame { link, lane, bytes } => self.io.links.queue(link, lane, bytes),
            Output::Close(link) => self.io.links.close(link),
            output => self.give_work(output),
        }
    }

    /// Hands work to the threads. A node without consensus has none and asks for none.
    fn give_work(&mut self, output: Output) {
        let Some(workers) = &self.workers else { return };
        match output {
            Output::Write(write) => workers.wal.send(wal_thread::Job::Write(write)),
            Output::RememberPeers(peers) => workers.wal.send(wal_thread::Job::RememberPeers(peers)),
            Output::Apply(runs) => workers.apply.apply(runs),
            Output::Renamed { node, generation } => {
                workers.apply.send(apply_thread::Job::ChangeOwner(node, generation))
            }
            Output::Fetch { group, first, last, bytes_max } => self.fetch(group, first, last, bytes_max),
            _ => {}
        }
    }

    /// Reads back on a thread of its own, so that it never waits behind a sync.
    fn fetch(&self, group: GroupId, first: Index, last: Index, bytes_max: usize) {
        let Some(workers) = &self.workers else { return };
        let (reader, shared) = (Arc::clone(&workers.reader), Arc::clone(&self.shared));
        tokio::task::spawn_blocking(move || {
            let fetched = reader.fetch(group, first, last, bytes_max).unwrap_or_else(|error| {
                tracing::error!(node = shared.node_name, "entries {first} to {last} cannot be read back: {error}");
                // The core takes an empty answer for what it is: the storage has lost what it acknowledged.
                Fetched { group, first, runs: Vec::new() }
            });
            shared.inbox.report(Input::Fetched(fetched));
        });
    }

    /// Ends the threads. In an orderly end what is queued is sent and written first.
    async fn end(mut self, end: Turn) {
        self.shared.ending.store(true, Ordering::Relaxed);
        if end == Turn::Stopped {
            self.io.links.close_all().await;
        }
        self.shared.inbox.close();
        if let Some(workers) = self.workers {
            workers.wal.join();
            workers.apply.end();
        }
    }
}

/// The wall clock; 1970 if it stands before that.
fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
// The promise is ten seconds; the core needs at most three of them, the flush and the last sync the rest.
const STOP_MAX: Duration = Duration::from_secs(8);
