//! What every [`Codec`] must do.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slimcluster_core::machine::{CODEC_JSON, CODEC_POSTCARD, CODEC_USER_MIN, Codec, CodecError};
use slimcluster_core::random::Random;

use super::case::{self, Breach, Case, Report, Verdict, breach, equal, holds};

/// The contract of [`Codec`], to be checked; made by [`codec`].
#[must_use = "nothing is asked before `check` or `report`"]
pub struct CodecContract<C> {
    bench: Bench<C>,
    only: Option<String>,
}

/// What the cases are given.
struct Bench<C> {
    make: Box<dyn Fn() -> Box<dyn Codec<C>> + Send + Sync>,
    samples: Vec<C>,
    written_before: Vec<(Bytes, C)>,
    written_later: Vec<Bytes>,
    peak_bytes: Option<Box<Meter>>,
    built_in: bool,
    seed: u64,
}

/// What a command must be to be asked about.
trait Command: PartialEq + Debug + Send + Sync + 'static {}

impl<C: PartialEq + Debug + Send + Sync + 'static> Command for C {}

type Meter = dyn Fn(&mut dyn FnMut()) -> u64 + Send + Sync;

/// The contract of the codecs that `make` makes, asked with these samples: at least one of each kind of command, small and large.
///
/// ```
/// use bytes::Bytes;
/// use slimcluster::{Codec, CodecError, contract};
///
/// /// A number as its decimal digits.
/// struct Digits;
///
/// impl Codec<u32> for Digits {
///     fn id(&self) -> u8 {
///         128
///     }
///
///     fn encode(&self, command: &u32) -> Result<Bytes, CodecError> {
///         Ok(command.to_string().into())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<u32, CodecError> {
///         let text = std::str::from_utf8(bytes).map_err(|error| CodecError(error.to_string()))?;
///         text.parse().map_err(|_| CodecError(format!("{text:?} is no number")))
///     }
/// }
///
/// contract::codec(|| Digits, [0, 7, u32::MAX])
///     // As the first release wrote it. It stands in logs, so every later one must read it.
///     .written_before("7", 7)
///     // As a release with larger numbers would write: this one must not take it for something else.
///     .written_later("4294967296")
///     .check();
/// ```
pub fn codec<C, K>(
    make: impl Fn() -> K + Send + Sync + 'static,
    samples: impl IntoIterator<Item = C>,
) -> CodecContract<C>
where
    C: PartialEq + Debug + Send + Sync + 'static,
    K: Codec<C>,
{
    let bench = Bench {
        make: Box::new(move || Box::new(make())),
        samples: samples.into_iter().collect(),
        written_before: Vec::new(),
        written_later: Vec::new(),
        peak_bytes: None,
        built_in: false,
        seed: SEED_DEFAULT,
    };
    CodecContract { bench, only: None }
}

impl<C: PartialEq + Debug + Send + Sync + 'static> CodecContract<C> {
    /// These bytes, written by an earlier release, must be read as this command for ever. Pin one of each kind of command with the first release.
    pub fn written_before(mut self, bytes: impl Into<Bytes>, command: C) -> Self {
        self.bench.written_before.push((bytes.into(), command));
        self
    }

    /// These bytes are a command that this release does not know, as a later one may write it: it must be refused, and not be taken for
    /// another.
    pub fn written_later(mut self, bytes: impl Into<Bytes>) -> Self {
        self.bench.written_later.push(bytes.into());
        self
    }

    /// Measures memory with `meter`, which calls what it is given and returns the greatest number of bytes that were allocated meanwhile, by this
    /// thread. Counting takes a global allocator, which is the test's to choose; without a meter the cost of garbage is not asked.
    pub fn peak_bytes(mut self, meter: impl Fn(&mut dyn FnMut()) -> u64 + Send + Sync + 'static) -> Self {
        self.bench.peak_bytes = Some(Box::new(meter));
        self
    }

    /// The codec comes with the library and has an id of the library's own.
    pub fn built_in(mut self) -> Self {
        self.bench.built_in = true;
        self
    }

    /// Draws the garbage from this seed, which every report prints.
    pub fn seed(mut self, seed: u64) -> Self {
        self.bench.seed = seed;
        self
    }

    /// Asks only the case of this name: to look at one breach.
    pub fn only(mut self, name: &str) -> Self {
        self.only = Some(name.to_owned());
        self
    }

    /// Asks every case.
    ///
    /// # Panics
    /// With the report, if a promise was not kept; or if there is no sample.
    #[track_caller]
    pub fn check(self) {
        self.report().assert_kept();
    }

    /// Asks every case and gives the findings, for a test that expects a breach.
    ///
    /// # Panics
    /// If there is no sample: a codec of which nothing is asked must not pass.
    pub fn report(self) -> Report {
        assert!(
            !self.bench.samples.is_empty(),
            "the contract of a codec needs samples: give it one of each kind of command"
        );
        case::run("codec", self.bench.seed, cases(), self.bench, self.only.as_deref())
    }
}

fn cases<C: Command>() -> Vec<Case<Bench<C>>> {
    vec![
        Case {
            name: "a_command_survives",
            why: "every node applies what it decodes, and only the first one ever held the value",
            rule: "`Codec::decode`",
            unless: |_| None,
            run: a_command_survives,
        },
        Case {
            name: "equal_commands_have_equal_bytes",
            why: "replicas are compared by the hash of their bytes, and what is sent again must be what was sent",
            rule: "rules 16, 36",
            unless: |_| None,
            run: equal_commands_have_equal_bytes,
        },
        Case {
            name: "a_codec_has_no_state",
            why: "commands are decoded years later, by another process, in any order and from any thread",
            rule: "`Codec` is stateless",
            unless: |_| None,
            run: a_codec_has_no_state,
        },
        Case {
            name: "the_id_is_the_codecs_own",
            why: "the log names the codec of each command by its id alone",
            rule: "rule 36",
            unless: |_| None,
            run: the_id_is_the_codecs_own,
        },
        Case {
            name: "garbage_is_refused_or_read_but_never_a_panic",
            why: "the bytes come from a log that any member of the cluster may have written",
            rule: "architecture invariant 7",
            unless: |_| None,
            run: garbage_is_no_panic,
        },
        Case {
            name: "what_can_be_read_can_be_written_and_read_again",
            why: "a machine that keeps a command must be able to write it into its snapshot",
            rule: "rule 20",
            unless: |_| None,
            run: what_can_be_read_can_be_written,
        },
        Case {
            name: "garbage_costs_little_memory",
            why: "a length that is believed before its bytes are there ends the process",
            rule: "architecture invariant 8",
            unless: |bench| bench.peak_bytes.is_none().then_some("nothing was given to measure memory: `peak_bytes`"),
            run: garbage_costs_little_memory,
        },
        Case {
            name: "what_earlier_releases_wrote_is_read",
            why: "a command stands in logs for as long as they do, and a cluster is upgraded node by node",
            rule: "rule 36",
            unless: |bench| bench.written_before.is_empty().then_some("no bytes were pinned: `written_before`"),
            run: what_earlier_releases_wrote_is_read,
        },
        Case {
            name: "what_later_releases_write_is_refused",
            why: "an unknown command that is taken for another one makes replicas differ; one that is refused halts apply",
            rule: "rule 20",
            unless: |bench| bench.written_later.is_empty().then_some("no unknown bytes were given: `written_later`"),
            run: what_later_releases_write_is_refused,
        },
    ]
}

fn encode<C: Command>(codec: &dyn Codec<C>, command: &C) -> Result<Bytes, Breach> {
    codec.encode(command).map_err(|error| breach(format!("{} is encoded", short(command)), error))
}

fn a_command_survives<C: Command>(bench: &Bench<C>) -> Verdict {
    let codec = (bench.make)();
    for sample in &bench.samples {
        survives(&*codec, sample, &encode(&*codec, sample)?)?;
    }
    Ok(())
}

/// `bytes` must be read as `command`.
fn survives<C: Command>(codec: &dyn Codec<C>, command: &C, bytes: &[u8]) -> Verdict {
    match codec.decode(bytes) {
        Ok(decoded) if decoded == *command => Ok(()),
        Ok(decoded) => Err(breach(format!("{} from its bytes", short(command)), short(&decoded))),
        Err(error) => Err(breach(format!("{} from its bytes", short(command)), error)),
    }
}

fn equal_commands_have_equal_bytes<C: Command>(bench: &Bench<C>) -> Verdict {
    for sample in &bench.samples {
        let codec = (bench.make)();
        let bytes = encode(&*codec, sample)?;
        let what = |how: &str| format!("{}, {how}", short(sample));
        // A value that was decoded is an equal value of another making: a randomly seeded map iterates in another order there.
        for _ in 0..REPEATS {
            equal(&what("encoded again"), &encode(&*codec, sample)?, &bytes)?;
            let again = codec.decode(&bytes).map_err(|error| breach(what("decoded"), error))?;
            equal(&what("encoded after it was decoded"), &encode(&*codec, &again)?, &bytes)?;
        }
    }
    Ok(())
}

fn a_codec_has_no_state<C: Command>(bench: &Bench<C>) -> Verdict {
    let codec = (bench.make)();
    let written = bench.samples.iter().map(|sample| encode(&*codec, sample)).collect::<Result<Vec<Bytes>, _>>()?;
    // Another instance, which has never encoded, reads them last to first; so do several threads, through one instance at once.
    let other = (bench.make)();
    let read_all = |codec: &dyn Codec<C>| -> Verdict {
        for (sample, bytes) in bench.samples.iter().zip(&written).rev() {
            survives(codec, sample, bytes)?;
            equal(&format!("{} from another instance", short(sample)), &encode(codec, sample)?, bytes)?;
        }
        Ok(())
    };
    read_all(&*other)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..REPEATS).try_for_each(|_| read_all(&*codec)))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Verdict>| {
            thread.join().unwrap_or_else(|panic| Err(breach("no panic", case::message_of(&*panic))))
        };
        threads.into_iter().map(join).fold(Ok(()), Verdict::and)
    })
}

fn the_id_is_the_codecs_own<C: Command>(bench: &Bench<C>) -> Verdict {
    let id = (bench.make)().id();
    if bench.built_in {
        holds([CODEC_POSTCARD, CODEC_JSON].contains(&id), "an id of the library's own", id)?;
    } else {
        holds(id >= CODEC_USER_MIN, format!("an id from {CODEC_USER_MIN} to 255"), id)?;
    }
    equal("the id of another instance", &(bench.make)().id(), &id)
}

fn garbage_is_no_panic<C: Command>(bench: &Bench<C>) -> Verdict {
    for_garbage(bench, |codec, bytes| {
        let started = Instant::now();
        // A panic is caught around the case, where nobody knows these bytes any more.
        let decode = std::panic::AssertUnwindSafe(|| drop(codec.decode(bytes)));
        if let Err(panic) = std::panic::catch_unwind(decode) {
            return Err(breach("an error or a command", format!("a panic: {}", case::message_of(&*panic))));
        }
        let took = started.elapsed();
        holds(took < DECODE_TIME_MAX, format!("an answer within {DECODE_TIME_MAX:?}"), format!("one after {took:?}"))
    })
}

fn what_can_be_read_can_be_written<C: Command>(bench: &Bench<C>) -> Verdict {
    for_garbage(bench, |codec, bytes| {
        let Ok(command) = codec.decode(bytes) else { return Ok(()) };
        let written = encode(codec, &command)?;
        let again =
            codec.decode(&written).map_err(|error| breach(format!("{} is read again", short(&command)), error))?;
        equal(&format!("{} written again", short(&command)), &encode(codec, &again)?, &written)
    })
}

fn garbage_costs_little_memory<C: Command>(bench: &Bench<C>) -> Verdict {
    let Some(meter) = &bench.peak_bytes else { return Ok(()) };
    for_garbage(bench, |codec, bytes| {
        let peak = meter(&mut || drop(codec.decode(bytes)));
        let peak_max = PEAK_BYTES_MAX + PEAK_BYTES_PER_BYTE * bytes.len() as u64;
        holds(peak <= peak_max, format!("at most {peak_max} bytes allocated"), format!("{peak} bytes"))
    })
}

fn what_earlier_releases_wrote_is_read<C: Command>(bench: &Bench<C>) -> Verdict {
    let codec = (bench.make)();
    bench.written_before.iter().try_for_each(|(bytes, command)| survives(&*codec, command, bytes))
}

fn what_later_releases_write_is_refused<C: Command>(bench: &Bench<C>) -> Verdict {
    let codec = (bench.make)();
    for bytes in &bench.written_later {
        match codec.decode(bytes) {
            Err(CodecError(words)) => holds(!words.is_empty(), "an error that says what is wrong", "no words")?,
            Ok(command) => {
                return Err(breach(format!("an error for the unknown {}", short(bytes)), short(&command)));
            }
        }
    }
    Ok(())
}

/// Asks about bytes that no encoder wrote: nothing, parts of samples, samples with bits flipped, bytes replaced by extremes and tails
/// exchanged, and noise. A breach names the bytes.
fn for_garbage<C: Command>(bench: &Bench<C>, ask: impl Fn(&dyn Codec<C>, &[u8]) -> Verdict) -> Verdict {
    let (codec, mut random) = ((bench.make)(), Random::new(bench.seed));
    let ask = |bytes: &[u8]| {
        ask(&*codec, bytes)
            .map_err(|Breach { expected, seen }| breach(expected, format!("{seen}, for {}", short(&bytes))))
    };
    ask(&[])?;
    let written = bench.samples.iter().map(|sample| encode(&*codec, sample)).collect::<Result<Vec<Bytes>, _>>()?;
    for bytes in &written {
        let step = (bytes.len() / PLACES_MAX).max(1);
        for at in (0..bytes.len()).step_by(step) {
            ask(&bytes[..at])?;
            for broken in [bytes[at] ^ 1 << random.below(8), 0, 0x7f, 0x80, 0xff] {
                let mut garbage = bytes.to_vec();
                garbage[at] = broken;
                ask(&garbage)?;
            }
            // A length of the largest kind in the place of whatever stands here.
            let mut garbage = bytes[..at].to_vec();
            garbage.extend_from_slice(&[0xff; 9]);
            garbage.push(1);
            garbage.extend_from_slice(&bytes[at..]);
            ask(&garbage)?;
            if let Some(other) = random.pick(&written) {
                ask(&[&bytes[..at], &other[other.len() / 2..]].concat())?;
            }
        }
    }
    for _ in 0..NOISE {
        let length = random.below(200);
        let noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        ask(&noise)?;
    }
    Ok(())
}

/// The value as a breach shows it.
fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    if text.chars().count() <= SHOWN_MAX { text } else { text.chars().take(SHOWN_MAX).chain(['…']).collect() }
}

const SEED_DEFAULT: u64 = 1;
const REPEATS: usize = 4;
const NOISE: usize = 2000;
/// At most this many places of a sample are garbled.
const PLACES_MAX: usize = 300;
const SHOWN_MAX: usize = 300;
const DECODE_TIME_MAX: Duration = Duration::from_secs(5);
// serde reserves up to 1 MiB for a sequence whose length it was told; a few of them may be nested.
const PEAK_BYTES_MAX: u64 = 8 << 20;
// Small values in large types: a vector of empty strings, say.
const PEAK_BYTES_PER_BYTE: u64 = 256;
