//! Bootstrap: how the first cluster comes to be, exactly once (rules 22-25).
//!
//! There is no coordinator and no `initialize()`. Every node is told how many nodes to expect. A node that has direct links to
//! exactly that many eligible ones, itself included, for a moment without a change, and hears that they all see the same, *promises*
//! that set: it writes it down and says so.
//! A promise is exclusive, and a node id makes one in its life. Whoever knows that all members of a set have promised it knows that
//! the cluster exists: its identity is the hash of the set, its first log entry is the set as configuration.
//!
//! ```text
//!           N see each other, 1 s unchanged       all N promised it
//!   Fresh ────────────────────────────► Promised ───────────────────► Formed
//!     │ ▲                                  │                             │
//!     │ └──── new id ◄─── a member missing for 30 s                      │
//!     │ └──── new id ◄─── ceil(N/2) members gave the set up ─────────────┘
//!     ▼ a formed cluster in direct touch
//!   JoinOnly
//! ```
//!
//! Every arrow is one write of the identity file; nothing that depends on it is said before it is durable, and a crash resumes from
//! whatever the file says. Everything is said again every second while the node is not settled, so any message may be lost, doubled
//! or reordered.
//!
//! What is guaranteed, by the model in `tests/bootstrap_model.rs` over this very code:
//!
//! * *No id is counted twice*: two sets that share a node id never both form anywhere, for any number of nodes. (An id promises one
//!   set; a set forms only if all its ids promised it.)
//! * *Never two clusters*: as long as no more than the expected number of nodes take part and fewer than a majority of a set lost
//!   their disks, no two sets ever have a majority of formed nodes each, so two clusters never both commit.
//! * *Never stuck*: unless a disk was lost, once all nodes run and reach each other they end in one cluster.
//!
//! Giving up (rule 24) is what the second takes care over. A node that gave a promise up under one id promises again only when
//! ceil(N/2) ids of the old set are known to be given up without having formed it: the rest is no majority, so the old set is dead
//! wherever it may have formed, and a node that has formed it starts afresh when it hears of that.
//!
//! Four details that the rules leave open are decided here:
//!
//! * A node promises only what all members say that they see too. Otherwise two camps can each promise what the other is about to
//!   give up, in turns and for ever (the model found this).
//! * A member that has promised another set, sees another set, or only joins, is *missing*: its id will not complete ours.
//! * A node that never promised, but stands in a set that another gave up, takes a new id at once: thus the giving up of a set gets
//!   its ceil(N/2) voices even if only one member had promised. It promised nothing, so it need not wait for anyone.
//! * A node that gave a set up and meets a node that has formed it writes `JoinOnly` only when it sees a majority of the set formed.
//!   Until then the set may still turn out dead, and `JoinOnly` is final.
//!
//! Known limit: if one member formed, another gave up, and a third lost its disk, all before a majority had formed, the one that
//! formed cannot be told that its set is dead. No data can have been acknowledged; its directory has to be deleted by hand.
//!
//! Deliberately absent: addresses, links and handshakes (the node's), and any use of gossip.

#[expect(
    clippy::module_inception,
    reason = "the module is named by what it is about, the file by the type that it holds"
)]
mod bootstrap;
mod message;
mod options;
mod waiting;

pub use bootstrap::Bootstrap;
pub use message::{Claim, Hello, Input, Message, Output};
pub use options::BootstrapOptions;
