//! The streams to peers: framing, two lanes, and limits.
//!
//! A frame is a length of four bytes, little-endian, and that many bytes. Control frames overtake log frames between frames; what is queued for a
//! link in one turn of the loop is written in one piece. Each link is one task on the loop's own thread.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use slimcluster_core::node::io::{Input, Lane, LinkId};
use slimcluster_core::wire::{FRAME_BYTES_MAX, LENGTH_BYTES, put_frame, take_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event_loop::Arrivals;
use crate::transport::{Stream, StreamListener};

/// All links of a node.
pub(super) struct Links {
    links: HashMap<LinkId, Link>,
    /// Links whose end was asked for; they may still be sending.
    closing: Vec<JoinHandle<()>>,
    /// Number of the next accepted link: even.
    next_accepted: u64,
    /// Links with frames queued in this turn.
    touched: Vec<LinkId>,
    listener: Arc<dyn StreamListener>,
    arrivals: Arrivals,
}

struct Link {
    lanes: Rc<Lanes>,
    task: JoinHandle<()>,
    /// The source of an accepted link on which no frame has arrived yet.
    unproven: Option<IpAddr>,
}

impl Links {
    pub fn new(listener: Arc<dyn StreamListener>, arrivals: Arrivals) -> Self {
        Links { links: HashMap::new(), closing: Vec::new(), next_accepted: 2, touched: Vec::new(), listener, arrivals }
    }

    /// Whether the core still knows the link.
    pub fn contains(&self, link: LinkId) -> bool {
        self.links.contains_key(&link)
    }

    /// Dials.
    pub fn connect(&mut self, link: LinkId, to: SocketAddr) {
        let (lanes, arrivals, dial) = (Rc::new(Lanes::default()), self.arrivals.clone(), self.listener.connect(to));
        let task = tokio::task::spawn_local({
            let lanes = Rc::clone(&lanes);
            async move {
                let reason = match timeout(CONNECT_TIMEOUT, dial).await {
                    Ok(Ok(stream)) => {
                        lanes.connected.set(true);
                        arrivals.push(Input::Connected(link));
                        serve(stream, link, &lanes, &arrivals, None).await
                    }
                    Ok(Err(error)) => format!("{to} cannot be reached: {error}"),
                    Err(_) => format!("{to} did not answer within {CONNECT_TIMEOUT:?}"),
                };
                arrivals.push_ended(link, reason);
            }
        });
        self.links.insert(link, Link { lanes, task, unproven: None });
    }

    /// Takes in a stream that a peer dialled; none when there are too many that have not said anything yet.
    pub fn accept(&mut self, stream: Box<dyn Stream>, from: SocketAddr) -> Option<LinkId> {
        let ip = from.ip();
        let unproven = self.links.values().filter_map(|link| link.unproven);
        let (of_all, of_ip) = unproven.fold((0, 0), |(all, same), other| (all + 1, same + usize::from(other == ip)));
        if of_all >= UNPROVEN_MAX
            || (of_ip >= UNPROVEN_PER_IP_MAX && !ip.is_loopback())
            || self.links.len() >= LINKS_MAX
        {
            tracing::debug!("a connection from {from} was refused: too many are open");
            return None;
        }
        let link = LinkId(self.next_accepted);
        self.next_accepted += 2;
        let (lanes, arrivals) = (Rc::new(Lanes::default()), self.arrivals.clone());
        lanes.connected.set(true);
        let task = tokio::task::spawn_local({
            let lanes = Rc::clone(&lanes);
            async move {
                let reason = serve(stream, link, &lanes, &arrivals, Some(FIRST_FRAME_TIMEOUT)).await;
                arrivals.push_ended(link, reason);
            }
        });
        self.links.insert(link, Link { lanes, task, unproven: Some(ip) });
        Some(link)
    }

    /// A frame arrived on the link: it is no longer one of those that say nothing.
    pub fn prove(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.unproven = None;
        }
    }

    /// Queues a frame. A link whose queue is full is closed, and the core is told: its peer does not keep up.
    pub fn queue(&mut self, id: LinkId, lane: Lane, bytes: Bytes) {
        let Some(link) = self.links.get(&id) else { return };
        if bytes.len() > FRAME_BYTES_MAX {
            return self.fail(id, format!("a frame of {} bytes is too long to be sent", bytes.len()));
        }
        if !link.lanes.push(lane, bytes) {
            return self.fail(id, "the peer does not keep up: its queue is full".to_owned());
        }
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    fn fail(&mut self, id: LinkId, reason: String) {
        if let Some(link) = self.links.remove(&id) {
            link.task.abort();
            self.arrivals.push(Input::Disconnected { link: id, reason });
        }
    }

    /// Lets the links that were given frames in this turn write them.
    pub fn flush(&mut self) {
        for id in self.touched.drain(..) {
            if let Some(link) = self.links.get(&id) {
                link.lanes.wake.notify_one();
            }
        }
    }

    /// Closes a link at the core's wish: what is queued is still sent, within a bound.
    pub fn close(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            if !link.lanes.connected.get() {
                return link.task.abort();
            }
            link.lanes.close();
            self.closing.retain(|task| !task.is_finished());
            self.closing.push(link.task);
        }
    }

    /// The link has ended by itself. False if the core closed it before.
    pub fn ended(&mut self, id: LinkId) -> bool {
        self.links.remove(&id).is_some()
    }

    /// Closes all links and waits, within a bound, until what is queued is sent.
    pub async fn close_all(&mut self) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        ids.into_iter().for_each(|id| self.close(id));
        for task in self.closing.drain(..) {
            // Its result is (): it can only have been cancelled.
            let _ = task.await;
        }
    }
}

/// What is queued for one link.
#[derive(Default)]
struct Lanes {
    control: RefCell<Queue>,
    log: RefCell<Queue>,
    connected: Cell<bool>,
    closed: Cell<bool>,
    wake: Notify,
    closing: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Lanes {
    /// False when the lane is full.
    fn push(&self, lane: Lane, frame: Bytes) -> bool {
        let (queue, bytes_max) = match lane {
            Lane::Control => (&self.control, CONTROL_BYTES_MAX),
            Lane::Log => (&self.log, LOG_BYTES_MAX),
        };
        let mut queue = queue.borrow_mut();
        queue.bytes += frame.len() + LENGTH_BYTES;
        queue.frames.push_back(frame);
        queue.bytes <= bytes_max
    }

    fn pop(&self) -> Option<Bytes> {
        [&self.control, &self.log].into_iter().find_map(|queue| {
            let mut queue = queue.borrow_mut();
            let frame = queue.frames.pop_front()?;
            queue.bytes -= frame.len() + LENGTH_BYTES;
            Some(frame)
        })
    }

    fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
        self.closing.notify_one();
    }
}

/// Serves a connected stream until it ends; gives the reason.
async fn serve(
    stream: Box<dyn Stream>,
    link: LinkId,
    lanes: &Lanes,
    arrivals: &Arrivals,
    first_frame: Option<Duration>,
) -> String {
    let (reader, writer) = tokio::io::split(stream);
    let reading = read_frames(reader, link, arrivals, first_frame);
    let writing = async {
        match write_frames(writer, lanes).await {
            Ok(()) => "closed".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    // Closing sends what is queued, but does not wait for a peer that does not read.
    let closed = async {
        lanes.closing.notified().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        reason = reading => reason,
        reason = writing => reason,
        () = closed => "closed".to_owned(),
    }
}

async fn read_frames(
    mut reader: ReadHalf<Box<dyn Stream>>,
    link: LinkId,
    arrivals: &Arrivals,
    mut first_frame: Option<Duration>,
) -> String {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let deadline = first_frame.map(|wait| tokio::time::Instant::now() + wait);
    loop {
        loop {
            match take_frame(&mut buffer) {
                Ok(Some(bytes)) => {
                    first_frame = None;
                    arrivals.push_frame(link, bytes);
                }
                Ok(None) => break,
                Err(error) => return error.to_string(),
            }
        }
        arrivals.wait_for_room().await;
        if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
            buffer.reserve(READ_BYTES);
        }
        let read = match (first_frame, deadline) {
            (Some(wait), Some(deadline)) => {
                match tokio::time::timeout_at(deadline, reader.read_buf(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => return format!("the peer said nothing within {wait:?}"),
                }
            }
            _ => reader.read_buf(&mut buffer).await,
        };
        match read {
            Ok(0) => return "the peer closed the connection".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

async fn write_frames(mut writer: WriteHalf<Box<dyn Stream>>, lanes: &Lanes) -> io::Result<()> {
    let mut batch = BytesMut::with_capacity(WRITE_BYTES);
    loop {
        // No more than one write's worth at once: control frames that come meanwhile overtake the rest.
        while batch.len() < WRITE_BYTES
            && let Some(frame) = lanes.pop()
        {
            put_frame(&mut batch, &frame);
        }
        if !batch.is_empty() {
            writer.write_all_buf(&mut batch).await?;
            writer.flush().await?;
        } else if lanes.closed.get() {
            return writer.shutdown().await;
        } else {
            lanes.wake.notified().await;
        }
    }
}

const READ_BYTES: usize = 128 << 10;
const READ_BYTES_MIN: usize = 16 << 10;
const WRITE_BYTES: usize = 64 << 10;
// Votes, heartbeats and answers of seconds.
const CONTROL_BYTES_MAX: usize = 4 << 20;
// Twice what the leader has in flight to one peer, and as much again for forwarded commands.
const LOG_BYTES_MAX: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
// A peer that dials speaks first and at once.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
const UNPROVEN_MAX: usize = 256;
const UNPROVEN_PER_IP_MAX: usize = 16;
// Two connections each way with every voter and learner of a large cluster, and those being replaced.
const LINKS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_overtake_and_a_full_lane_says_so() {
        let lanes = Lanes::default();
        assert!(lanes.push(Lane::Log, Bytes::from_static(b"log 1")));
        assert!(lanes.push(Lane::Log, Bytes::from_static(b"log 2")));
        assert!(lanes.push(Lane::Control, Bytes::from_static(b"vote")));
        let order: Vec<Bytes> = std::iter::from_fn(|| lanes.pop()).collect();
        assert_eq!(order, ["vote", "log 1", "log 2"]);
        assert!(!lanes.push(Lane::Log, Bytes::from(vec![0; LOG_BYTES_MAX])));
    }
}
