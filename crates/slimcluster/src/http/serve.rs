//! Serving an application from bind to the last answer, and stopping in the right order.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::ServiceExt as _;

use crate::{Cluster, Result, driver};

impl Cluster {
    /// Serves `app` over HTTP/1.1 at `address` until SIGTERM or Ctrl-C, or until the node stops; then takes no more connections, lets the
    /// requests under way end, stops the node as [`Cluster::shutdown`] does, and returns. All of that takes less than ten seconds, with or
    /// without a quorum.
    ///
    /// Unless the builder was told an address to advertise, the bound one is advertised: other nodes delegate requests to it. Handlers may
    /// extract `ConnectInfo<SocketAddr>`. Signals are left alone if the builder was told so.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the address cannot be bound, with one sentence that names it; the node has been stopped.
    pub async fn serve(&self, address: impl ToSocketAddrs + Display, app: Router) -> Result<()> {
        let bound = TcpListener::bind(&address).await;
        match bound {
            Ok(listener) => self.serve_on(listener, app).await,
            Err(error) => {
                self.shutdown().await;
                let sentence = format!(
                    "the HTTP address {address} cannot be bound: {error}; give an address of this host and a port that is free"
                );
                Err(io::Error::new(error.kind(), sentence).into())
            }
        }
    }

    /// As [`Cluster::serve`], on a listener that is bound already.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the listener has no address or signals cannot be received; the node has been stopped.
    pub async fn serve_on(&self, listener: TcpListener, app: Router) -> Result<()> {
        let prepared = self.prepare(&listener);
        let mut signals = match prepared {
            Ok(signals) => signals,
            Err(error) => {
                self.shutdown().await;
                return Err(error.into());
            }
        };
        let mut server = Server { app, connections: JoinSet::new(), stopping: watch::Sender::new(false) };
        tokio::select! {
            () = server.accept(listener) => {}
            () = signals.stop() => {}
            () = self.stopped() => {}
        }

        let deadline = Instant::now() + STOP_MAX;
        // Idle connections end at once, the others with their present answer.
        server.stopping.send_replace(true);
        let _ = timeout(DRAIN_MAX, server.ended()).await;
        // Whoever still waits gets its answer from the node that stops.
        let mut shutdown = pin!(self.shutdown());
        let stopped = timeout_at(deadline, async {
            tokio::select! {
                () = &mut shutdown => {}
                () = server.ended() => shutdown.await,
            }
        });
        if stopped.await.is_err() {
            tracing::warn!(node = self.node_name(), "the node has not stopped in time");
        }
        let _ = timeout(LAST_ANSWERS, server.ended()).await;
        // Dropping the server cuts off who has not gone.
        Ok(())
    }

    /// Advertises the listener's address, and takes over the signals.
    fn prepare(&self, listener: &TcpListener) -> io::Result<Signals> {
        let bound = listener.local_addr()?;
        let own = self.self_node();
        let advertised = own.http.unwrap_or_else(|| {
            let ip = if bound.ip().is_unspecified() { own.address.ip() } else { bound.ip() };
            let authority = SocketAddr::new(ip, bound.port()).to_string();
            self.advertise_http(Some(authority.clone()));
            authority
        });
        let node = self.node_name();
        tracing::info!(node, "serving HTTP on {bound}, advertised as {advertised}");
        Signals::take_over(self.shared())
    }
}

/// While it lives, SIGTERM and Ctrl-C are handled by `serve`, because requests under way end before the node does; whoever drops `serve` leaves
/// them to the node again. Without effect if the builder was told to leave signals alone.
struct Signals {
    shared: Arc<driver::Shared>,
    #[cfg(unix)]
    streams: Option<[Signal; 2]>,
}

impl Signals {
    fn take_over(shared: &Arc<driver::Shared>) -> io::Result<Self> {
        // Listening alone would take the signals from the application.
        #[cfg(unix)]
        let streams = match shared.handle_signals {
            true => Some([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]),
            false => None,
        };
        shared.signals_taken.store(true, Ordering::SeqCst);
        Ok(Signals {
            shared: Arc::clone(shared),
            #[cfg(unix)]
            streams,
        })
    }

    /// Waits for the first.
    #[cfg(unix)]
    async fn stop(&mut self) {
        let Some([terminate, interrupt]) = &mut self.streams else {
            return std::future::pending().await;
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(node = self.shared.node_name, "{name}: stopping");
    }

    /// Waits for the first.
    #[cfg(not(unix))]
    async fn stop(&mut self) {
        if !self.shared.handle_signals || tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        tracing::info!(node = self.shared.node_name, "Ctrl-C: stopping");
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.shared.signals_taken.store(false, Ordering::SeqCst);
    }
}

/// The connections of one `serve`.
struct Server {
    app: Router,
    connections: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Accepts for ever.
    async fn accept(&mut self, listener: TcpListener) {
        loop {
            let full = self.connections.len() >= CONNECTIONS_MAX;
            tokio::select! {
                Some(_) = self.connections.join_next() => {}
                accepted = listener.accept(), if !full => match accepted {
                    Ok((stream, peer)) => {
                        self.connections.spawn(connection(stream, peer, self.app.clone(), self.stopping.subscribe()));
                    }
                    // Out of file descriptors, most likely: existing connections may end. A connection that broke before it was taken costs
                    // the same short pause.
                    Err(error) => {
                        tracing::debug!("a connection could not be accepted: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Waits until all connections have ended.
    async fn ended(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}

/// Serves one connection until its end, or until its present answer when the server stops.
async fn connection(stream: TcpStream, peer: SocketAddr, app: Router, mut stopping: watch::Receiver<bool>) {
    // Without it small answers wait for an acknowledgement of the client.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        // What goes wrong on a connection is the client's affair.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The whole stop, a little below the ten seconds after which supervisors kill.
const STOP_MAX: Duration = Duration::from_millis(9_000);
/// Of it, for requests under way while the node still works. A request without a quorum takes longer; it gets its answer from the stopping node.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// For the answers that the end of the node has caused.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Each holds a file descriptor and some 10 KiB. Above it new ones wait in the backlog of the kernel.
const CONNECTIONS_MAX: usize = 16_384;
/// Between attempts to accept while the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A client that says nothing for this long does not keep a connection: a little longer than the minute for which load balancers keep theirs, so that
/// they do not send into one that is being closed.
const HEADER_READ_MAX: Duration = Duration::from_secs(75);
