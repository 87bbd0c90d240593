//! Cases, what they find, and how they are run.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What the contract asks for.
    pub expected: String,
    /// What the plug-in did instead.
    pub seen: String,
}

/// What one case found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The promise was kept.
    Kept,
    /// It was not.
    Breached(Breach),
    /// It was not asked for, for this reason.
    NotAsked(&'static str),
}

/// The findings of all cases of one suite.
#[derive(Clone, Debug)]
#[must_use = "a report that nobody asserts fails nothing"]
pub struct Report {
    subject: &'static str,
    seed: u64,
    results: Vec<CaseResult>,
}

#[derive(Clone, Debug)]
struct CaseResult {
    name: &'static str,
    why: &'static str,
    rule: &'static str,
    finding: Finding,
}

/// What a case ends with.
pub(super) type Verdict = Result<(), Breach>;

/// One promise of a contract. `B` is what the suite was given to make plug-ins with.
pub(super) struct Case<B> {
    /// A sentence that holds when the promise is kept.
    pub name: &'static str,
    /// Why it is asked, in one sentence.
    pub why: &'static str,
    /// The rule of the design, or the trait, that asks for it.
    pub rule: &'static str,
    /// Says why this plug-in cannot be asked, if so.
    pub unless: fn(&B) -> Option<&'static str>,
    /// Asks.
    pub run: fn(&B) -> Verdict,
}

impl Report {
    /// The names of all cases, in the order of the suite.
    pub fn names(&self) -> Vec<&'static str> {
        self.results.iter().map(|result| result.name).collect()
    }

    /// The names of the cases that were breached, in the order of the suite.
    pub fn breached(&self) -> Vec<&'static str> {
        self.results.iter().filter(|r| matches!(r.finding, Finding::Breached(_))).map(|r| r.name).collect()
    }

    /// The names of the cases that were not asked, in the order of the suite.
    pub fn not_asked(&self) -> Vec<&'static str> {
        self.results.iter().filter(|r| matches!(r.finding, Finding::NotAsked(_))).map(|r| r.name).collect()
    }

    /// What the case of this name found; none for a name that the suite does not have.
    pub fn finding(&self, name: &str) -> Option<&Finding> {
        self.results.iter().find(|r| r.name == name).map(|r| &r.finding)
    }

    /// Prints the findings, and fails the test if a promise was not kept.
    ///
    /// # Panics
    /// With the whole report, if a case was breached.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.breached().is_empty(), "{self}");
        println!("{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (breached, not_asked) = (self.breached().len(), self.not_asked().len());
        let kept = self.results.len() - breached - not_asked;
        writeln!(
            f,
            "the contract of a {}, seed {}: {kept} kept, {breached} breached, {not_asked} not asked",
            self.subject, self.seed
        )?;
        for result in &self.results {
            match &result.finding {
                Finding::Kept => writeln!(f, "  kept      {}", result.name)?,
                Finding::NotAsked(reason) => writeln!(f, "  not asked {} ({reason})", result.name)?,
                Finding::Breached(Breach { expected, seen }) => {
                    writeln!(f, "  BREACHED  {}", result.name)?;
                    writeln!(f, "      why:      {} ({})", result.why, result.rule)?;
                    writeln!(f, "      expected: {expected}")?;
                    writeln!(f, "      seen:     {seen}")?;
                }
            }
        }
        Ok(())
    }
}

/// Runs the cases one after the other. `only` runs the case of that name alone.
///
/// # Panics
/// If `only` names no case: a test that asks for nothing must not pass.
pub(super) fn run<B: Send + Sync + 'static>(
    subject: &'static str,
    seed: u64,
    cases: Vec<Case<B>>,
    bench: B,
    only: Option<&str>,
) -> Report {
    if let Some(name) = only {
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        assert!(names.contains(&name), "the contract of a {subject} has no case {name:?}; it has {names:?}");
    }
    let bench = Arc::new(bench);
    let asked = cases.into_iter().filter(|case| only.is_none_or(|name| name == case.name));
    let results = asked
        .map(|case| CaseResult {
            name: case.name,
            why: case.why,
            rule: case.rule,
            finding: ask(case, &bench, CASE_TIME_MAX),
        })
        .collect();
    Report { subject, seed, results }
}

fn ask<B: Send + Sync + 'static>(case: Case<B>, bench: &Arc<B>, time_max: Duration) -> Finding {
    if let Some(reason) = (case.unless)(bench) {
        return Finding::NotAsked(reason);
    }
    let (verdict, answer) = mpsc::channel();
    let (bench, work) = (Arc::clone(bench), case.run);
    let thread = std::thread::Builder::new().name(case.name.to_owned()).spawn(move || {
        // Nobody listens any more once the time is up.
        let _ = verdict.send(work(&bench));
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return Finding::Breached(breach("a thread for the case", error)),
    };
    match answer.recv_timeout(time_max) {
        Ok(Ok(())) => Finding::Kept,
        Ok(Err(breach)) => Finding::Breached(breach),
        // The thread stays behind: there is no way to end it, and the test process ends soon.
        Err(RecvTimeoutError::Timeout) => {
            Finding::Breached(breach("the case ends", format!("nothing for {time_max:?}")))
        }
        Err(RecvTimeoutError::Disconnected) => {
            let message = thread.join().err().map_or_else(|| "no message".to_owned(), |panic| message_of(&*panic));
            Finding::Breached(breach("no panic", format!("a panic: {message}")))
        }
    }
}

/// A promise that was not kept.
pub(super) fn breach(expected: impl fmt::Display, seen: impl fmt::Display) -> Breach {
    Breach { expected: expected.to_string(), seen: seen.to_string() }
}

/// `what` must be `expected`.
pub(super) fn equal<T: PartialEq + fmt::Debug + ?Sized>(what: &str, seen: &T, expected: &T) -> Verdict {
    if seen == expected { Ok(()) } else { Err(breach(format!("{what} is {expected:?}"), format!("{seen:?}"))) }
}

/// `expected` must hold; `seen` says what holds instead.
pub(super) fn holds(condition: bool, expected: impl fmt::Display, seen: impl fmt::Display) -> Verdict {
    if condition { Ok(()) } else { Err(breach(expected, seen)) }
}

/// What a panic said.
pub(super) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

// Far beyond what any case takes on a slow disk, so that only what never ends fails by it.
const CASE_TIME_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &'static str, run: fn(&u32) -> Verdict) -> Case<u32> {
        Case { name, why: "somebody relies on it", rule: "rule 5", unless: |_| None, run }
    }

    fn asked(case: Case<u32>, time_max: Duration) -> Finding {
        ask(case, &Arc::new(7), time_max)
    }

    #[test]
    fn a_case_that_panics_or_never_ends_is_a_breach() {
        let second = Duration::from_secs(1);
        assert_eq!(asked(case("a", |seven| equal("seven", seven, &7)), second * 60), Finding::Kept);
        let panics = asked(case("b", |_| panic!("no luck")), second * 60);
        assert_eq!(panics, Finding::Breached(breach("no panic", "a panic: no luck")));
        let hangs: fn(&u32) -> Verdict = |_| loop {
            std::thread::park();
        };
        let Finding::Breached(hangs) = asked(case("c", hangs), second / 10) else { unreachable!("it hangs") };
        assert_eq!(hangs.expected, "the case ends");
    }

    #[test]
    fn a_report_says_what_was_asked_and_what_was_not() {
        let cases = || {
            let skipped = Case { unless: |_| Some("there is none"), ..case("skipped", |_| Ok(())) };
            vec![case("kept", |_| Ok(())), case("breached", |seven| equal("it", seven, &8)), skipped]
        };
        let report = run("thing", 5, cases(), 7, None);
        assert_eq!((report.breached(), report.not_asked()), (vec!["breached"], vec!["skipped"]));
        let text = report.to_string();
        for part in ["seed 5", "1 kept, 1 breached, 1 not asked", "it is 8", "rule 5", "(there is none)"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert_eq!(run("thing", 5, cases(), 7, Some("kept")).names(), ["kept"]);
        assert!(std::panic::catch_unwind(|| report.assert_kept()).is_err());
        let unknown = std::panic::catch_unwind(|| run("thing", 5, cases(), 7, Some("unknown")).names());
        assert!(unknown.is_err(), "a case that does not exist is not kept");
    }
}
