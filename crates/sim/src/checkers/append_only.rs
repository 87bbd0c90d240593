//! Leader append-only (R2): a leader adds entries of its own term behind its log; it never replaces and never takes back.

use slimcluster_core::{LogId, Run, Term};

use super::{Verdict, Violation};

/// The leader of `term` wants `run` written behind a log that ends in `last`, with the history `chain`.
pub fn check(term: Term, (last, chain): (LogId, u64), run: &Run) -> Verdict {
    if run.first() == last.index.next() && run.term() == term && run.header().chain == chain {
        return Ok(());
    }
    let detail = format!("the leader of term {term} writes {run:?} into a log that ends in {last}");
    Err(Violation::of("leader append-only", detail))
}

#[cfg(test)]
mod tests {
    use slimcluster_core::Index;

    use super::super::sample::run;
    use super::*;

    #[test]
    fn a_leader_that_replaces_or_speaks_for_another_term_is_found() {
        let log = (LogId::new(Term(1), Index(3)), 7);
        check(Term(2), log, &run(4, 2, 7)).unwrap();
        for wrong in [run(3, 2, 7), run(5, 2, 7), run(4, 1, 7), run(4, 3, 7), run(4, 2, 8)] {
            assert!(check(Term(2), log, &wrong).is_err(), "{wrong:?}");
        }
    }
}
