//! HTTP in front of a cluster: requests that the leader handles whichever node gets them, what probes and people ask, serving, and errors as
//! responses. Everything here is for axum and tower; nothing of it is needed to use a cluster.
//!
//! # A delegated request
//!
//! ```text
//!  client ──► node A, a follower                          node B, the leader it knows
//!             layer: selected, not mine                    layer: slimcluster-to names me,
//!               └── POST /counter/increment ──────────────►       in this cluster, role and term?
//!                   slimcluster-to: CLUSTER/B/7              no ──► 421, no handler runs
//!                                                            yes ─► handler
//!             echo as expected? ◄── 200, slimcluster-from: B/7 ────┘
//!  client ◄── 200 (else 502)
//! ```
//!
//! Who leads is Raft's answer, (node, term); where it is reached, the leader's own: gossip only carries it. One hop: a node that is asked by mistake
//! refuses, and the asking node looks again, within a bound. The two headers never come from or reach a client: a request that bears
//! `slimcluster-to` is judged by it, so that forging it earns a client at most a 421.
//!
//! # What the status says
//!
//! Nothing was sent, or the asked node refused: 503 with `Retry-After`, certainly not handled. Anything else that goes wrong once a connection was
//! in use (it broke, nothing came in time) is 504 with `slimcluster-outcome: unknown`. A command that does not end well in a handler becomes the same
//! two statuses, by `IntoResponse` of this crate's errors.
//!
//! # Deliberately absent
//!
//! Redirects (a client may not reach the leader), a second hop, retries of what may have been handled, HTTP/2 and TLS between the nodes, trailers,
//! WebSockets through a follower.
//!
//! # Files
//!
//! * `delegate`: the layer, and one request's way to the leader; `standing`: what it must know of the cluster.
//! * `client`: connections to the leader, and the difference between not sent and unknown.
//! * `body`: bodies streamed both ways, and the clock of patience; `headers`: what crosses, and what does not.
//! * `answers`: the responses that this module gives by itself; `errors`: those that errors become.
//! * `ops`: `/cluster`, `/livez`, `/readyz`. `serve`: from bind to the last answer.

mod answers;
mod body;
mod client;
mod cluster;
mod delegate;
mod errors;
mod headers;
mod ops;
mod serve;
mod standing;
#[cfg(test)]
mod tests;

pub use delegate::{DelegateToLeader, DelegateToLeaderService};
