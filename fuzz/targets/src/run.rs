//! Runs: bytes from peers and from disk, sliced and carried on unchanged.

use bytes::Bytes;
use slimcluster_core::run::EntryRef;
use slimcluster_core::{Index, Run};

use crate::allocations;

/// Slices of a run beyond this many entries are sampled.
const SLICED_ENTRIES_MAX: u64 = 12;

/// One run or several, as they follow each other in a message.
pub fn runs(bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    loop {
        let before = rest.clone();
        // The blocks are copied, everything else stays in the received bytes.
        let held_max = 256 + 2 * before.len();
        let decode = || Run::decode_from(&mut rest);
        let Ok(run) = allocations::within(held_max, "decoding a run", decode) else { return };
        let taken = before.len() - rest.len();
        assert_eq!(run.to_bytes(), before[..taken], "what was read is what is written");
        assert_eq!(run.encoded_len(), taken);
        judge(&run);
    }
}

fn judge(run: &Run) {
    let entries: Vec<EntryRef> = run.entries().collect();
    assert_eq!(entries.len() as u64, run.count());
    assert_eq!(run.last().0, run.first().0 + run.count() - 1);
    assert_eq!(run.chain_at(run.first().prev()), Some(run.header().chain));
    assert_eq!(run.chain_at(run.last()), Some(run.chain_end()));
    assert_eq!(run.slice(Index(0), run.first().prev()), None);

    let offsets: Vec<u64> = (0..run.count().min(SLICED_ENTRIES_MAX)).chain([run.count() - 1]).collect();
    for first in &offsets {
        for last in offsets.iter().filter(|last| *last >= first) {
            let (first, last) = (run.first().0 + first, run.first().0 + last);
            judge_slice(run, &entries, Index(first), Index(last));
        }
    }
    for bytes_max in [0, 100, run.encoded_len() / 2, run.encoded_len() - 1, run.encoded_len()] {
        let head = run.head_within(bytes_max);
        assert_eq!(Some(&head), run.slice(run.first(), head.last()).as_ref());
        assert!(head.encoded_len() <= bytes_max || head.count() == 1, "{head:?} for {bytes_max} bytes");
    }
}

/// A slice recomputes count, blocks and chain from its own bytes (rule 36): every entry says what it said in the whole.
fn judge_slice(run: &Run, entries: &[EntryRef], first: Index, last: Index) {
    let slice = run.slice(first, last).expect("it lies within the run");
    assert_eq!((slice.first(), slice.last(), slice.term(), slice.kind()), (first, last, run.term(), run.kind()));
    assert_eq!(Some(slice.header().chain), run.chain_at(first.prev()));
    assert_eq!(Some(slice.chain_end()), run.chain_at(last));
    let expected = entries.iter().filter(|entry| (first..=last).contains(&entry.index));
    assert!(slice.entries().map(|entry| facts(&entry)).eq(expected.map(facts)), "{slice:?} of {run:?}");
    assert_eq!(slice.blocks().iter().map(|block| u64::from(block.count)).sum::<u64>(), commands(&slice));
    assert_eq!(Run::decode(slice.to_bytes()), Ok(slice));
}

fn commands(run: &Run) -> u64 {
    run.entries().filter(|entry| entry.command.is_some()).count() as u64
}

fn facts(entry: &EntryRef) -> (Index, Option<slimcluster_core::CommandId>, u64, Bytes) {
    (entry.index, entry.command, entry.acked_below, entry.payload.clone())
}
