//! Rare moments of processes, clocks and leaders that a run should have met: where each is noticed. Nothing here has an effect.

use slimcluster_core::Term;
use slimcluster_core::situations::{Situation, sometimes};

use crate::network::Endpoint;
use crate::process::Process;
use crate::world::{MILLISECOND, World};

/// A process that lives no longer than this has done little but recover.
const YOUNG: u64 = 150 * MILLISECOND;

impl World {
    /// A process is about to end, with the power or without.
    pub(crate) fn note_end(&self, process: &Process, power_loss: bool) {
        let leads = process.leads.is_some();
        let writes = process.writing_until.is_some() && process.writing.iter().any(|write| !write.runs.is_empty());
        for (happens, situation) in [
            (leads && writes, Situation::LeaderEndedInWrite),
            (leads && !process.requests.is_empty(), Situation::LeaderEndedWithRequests),
            (process.applying_until.is_some(), Situation::EndedWhileApplying),
            (power_loss && self.now - process.began < YOUNG, Situation::PowerLostAfterRecovery),
            (process.is_stopping && !process.stopped, Situation::EndedWhileStopping),
            (process.frozen_until > self.now, Situation::EndedWhileStandingStill),
        ] {
            if happens {
                sometimes(situation);
            }
        }
    }

    /// A start has failed because the process died within, for the `row`th time in a row.
    pub(crate) fn note_failed_start(&self, row: u32) {
        sometimes(Situation::DiedInRecovery);
        if row > 1 {
            sometimes(Situation::DiedInRecoveryAgain);
        }
    }

    /// A process goes on after it stood still.
    pub(crate) fn note_wake(&self, endpoint: Endpoint) {
        let process = self.places[endpoint.place].process.as_ref();
        if process.and_then(|process| process.leads).is_some_and(|term| self.is_succeeded(term)) {
            sometimes(Situation::LeaderWokeAfterFailOver);
        }
    }

    /// A process is asked for something, a command if `command`.
    pub(crate) fn note_request(&self, leads: Option<Term>, command: bool) {
        if leads.is_some_and(|term| self.is_succeeded(term)) {
            sometimes(if command { Situation::FormerLeaderAskedToWrite } else { Situation::FormerLeaderAskedToRead });
        }
    }

    /// Something happens to a place that may lead.
    pub(crate) fn note_leader(&self, place: usize, situation: Situation) {
        if self.places[place].process.as_ref().is_some_and(|process| process.leads.is_some()) {
            sometimes(situation);
        }
    }

    /// Whether another process leads in a later term, while the one of `term` does not know.
    fn is_succeeded(&self, term: Term) -> bool {
        let mut terms = self.places.iter().flat_map(|place| &place.process).filter_map(|process| process.leads);
        terms.any(|later| later > term)
    }
}
