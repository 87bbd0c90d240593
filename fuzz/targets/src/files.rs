//! The small files of a data directory, each put into an otherwise sound store.

use slimcluster_core::types::COUNTER_MAX;

use crate::draw::Draw;
use crate::seal;
use crate::store::{self, Files};

/// The identity file: as it comes, and its body in a sound frame.
pub fn identity(bytes: &[u8]) {
    judge_with("identity", bytes.to_vec());
    let recovered = judge_with("identity", seal::small_file(b"slimself", bytes));
    assert!(recovered.is_none_or(|recovered| recovered.identity.generation.0 <= COUNTER_MAX));
}

/// Term and vote: two slots as they come, and their bodies in sound frames.
pub fn hard_state(bytes: &[u8]) {
    judge_with("hardstate", bytes.to_vec());
    let mut draw = Draw::new(bytes);
    let slots = store::hard_state_slots(draw.piece(), draw.rest());
    let recovered = judge_with("hardstate", slots);
    assert!(recovered.is_none_or(|recovered| recovered.hard_state.term.0 <= COUNTER_MAX));
}

/// The file of known peers. Whatever it holds, the store opens.
pub fn peers(bytes: &[u8]) {
    assert!(judge_with("peers", bytes.to_vec()).is_some());
    let recovered = judge_with("peers", seal::small_file(b"slimpeer", bytes)).expect("a lost comfort only");
    assert!(recovered.peers.iter().all(|peer| peer.generation.0 <= COUNTER_MAX), "{:?}", recovered.peers);
}

fn judge_with(name: &str, content: Vec<u8>) -> Option<slimcluster_core::storage::Recovered> {
    let mut files: Files = store::sample().1;
    files.insert(name.to_owned(), content);
    store::judge(&files)
}
