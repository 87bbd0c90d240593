//! One generator per concern, each named by the seed, the concern and a number: drawing more here shifts nothing there, and a
//! plan that is made smaller keeps the streams of what is left.

use slimcluster_core::random::Random;
use xxhash_rust::xxh3::xxh3_64;

/// What a generator is for. The number beside it tells several of a kind apart.
#[derive(Clone, Copy, Debug)]
pub enum Concern {
    /// What kind of world it is.
    Swarm = 1,
    /// When faults of a class strike, by class.
    Strikes,
    /// The network.
    Network,
    /// A disk, by place.
    Disk,
    /// How long things take, by place.
    Timing,
    /// What a client does, by client.
    Client,
    /// One process from its start to its end and the pause after it, by place and start.
    Start,
    /// The clocks of a place, by place.
    Clock,
    /// Which nodes are the healthy majority, and how the others are broken.
    Majority,
    /// Ids and nonces of a member of a world of SWIM alone, by seat.
    Member,
    /// What an act does, by its number.
    Act,
    /// What the attacker keeps of what it hears, and by weapon what it does while a majority must work.
    Attacker,
    /// The second cluster, and behind it each of its nodes.
    Strangers,
}

/// The generator of a concern.
pub fn stream(seed: u64, concern: Concern, number: u64) -> Random {
    let mut name = [0; 24];
    for (part, word) in name.chunks_exact_mut(8).zip([seed, concern as u64, number]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    Random::new(xxh3_64(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_each_part_of_their_name() {
        let first = |seed, concern, number| stream(seed, concern, number).next();
        let one = first(1, Concern::Client, 1);
        assert_eq!(one, first(1, Concern::Client, 1));
        for other in [first(2, Concern::Client, 1), first(1, Concern::Disk, 1), first(1, Concern::Client, 2)] {
            assert_ne!(one, other);
        }
    }
}
