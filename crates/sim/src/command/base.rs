//! Where fresh seeds begin. A change is judged by seeds that nobody has chosen: they are drawn from its commit, and printed.

use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

/// Bases have so many bits: every seed after them is short enough to read, and to be a number in TOML.
const BASE_BITS: u32 = 48;
const BASE_MAX: u64 = (1 << BASE_BITS) - 1;

/// The base that `text` names: itself if it is a number of at most 48 bits, else its hash.
pub(super) fn named(text: &str) -> u64 {
    text.parse().ok().filter(|number| *number <= BASE_MAX).unwrap_or_else(|| xxh3_64(text.as_bytes()) & BASE_MAX)
}

/// A base that was not there before.
pub(super) fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    xxh3_64(&now.as_nanos().to_le_bytes()) & BASE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_itself_and_a_commit_is_a_number_of_its_own() {
        assert_eq!(named("42"), 42);
        let commits =
            ["45a82c1", "45a82c12685099d87da803b367b14e9f6986c416", "1234567890123456789012345678901234567890"];
        let bases = commits.map(named);
        assert!(bases.iter().all(|base| *base <= BASE_MAX) && bases[0] != bases[1] && bases[1] != bases[2]);
        assert_eq!(bases, commits.map(named));
        assert!(named("99999999999999999") <= BASE_MAX);
    }
}
