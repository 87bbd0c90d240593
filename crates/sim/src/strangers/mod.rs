//! A second cluster on the same network (N10, O1, O5): real nodes that are none of ours, on disks and threads that never fail.
//!
//! Of two kinds. *Foreigners* have another cluster id, and find our addresses among their seeds as we find theirs among ours.
//! *Namesakes* have the same cluster id: an operator has bootstrapped two halves of a network that was cut. They come once our cluster
//! is formed, form one of their own while nobody can pass, and then the halves meet. As gossip goes by the cluster id alone, the
//! members of both see each other; namesakes therefore go when the faults end, and what they leave behind must pass like any other
//! member that has died. Foreigners stay to the end.
//!
//! A strike of the class brings them, lets the halves meet, or starts one of them again, at times with the address of one of our nodes,
//! which then gets its own: to trust an address is to obey the wrong cluster.
//!
//! # What must hold
//!
//! All that must hold without them, and: to a foreigner nothing is said but a greeting or a refusal, and none becomes a member; with a
//! namesake only forming is spoken of; nobody votes for, follows or counts a node of the other cluster; and foreigners work like us.
//!
//! Reading order: `stranger` (one node, as a value), `encounters` (what they do to the world and what they must not).

mod encounters;
mod stranger;

pub use encounters::Strangers;
