//! What may be destroyed, and what was (rule 42): every run states it, and is judged by it.
//!
//! *Within the budget* at most a minority of the places ever loses its disk, and the cluster must be safe *and* live. The argument,
//! for `n` voters of which `f = floor((n - 1) / 2)` lose their disks in the whole run:
//!
//! * A place whose damage is noticed never votes or acknowledges again: it stays down with a named error, or comes back on an empty
//!   disk as another node, which is no voter. What was acknowledged stood on `n - f` or more voters, so at least one voter that is
//!   left holds it; and since an election needs all of the `n - f` that are left if `f` is used up, it needs that one's vote. So
//!   crashes and partitions of the others need not be held back: they cost liveness while they last, never safety.
//! * A wound that no single node can notice, the loss of the very last synced batch (rule 4), makes a voter forget what it promised.
//!   So does a write that goes astray onto the last sectors of the log, which may hold several batches and leaves nothing of them.
//!   That is amnesia: no count of other faults makes it safe while messages may be late, so it is out of the model. The world finds
//!   such a wound when the node starts and puts right what was hurt, and counts it as excluded. Only exactly that case is excused.
//! * Nothing is destroyed before every place knows that the cluster is formed: a founding member that loses its disk before that is
//!   the case of rule 24 that needs an operator.
//!
//! *Beyond the budget* a quorum is destroyed, though not every place. Then the cluster may stop for ever, and must be safe: no wrong
//! answer, no acknowledgement of anything that began after the quorum was gone, and a named error at every damaged place.

/// How a place stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its disk holds what it was given.
    Whole,
    /// Its medium is wounded, and nobody has noticed yet.
    Wounded,
    /// Its store was refused, with an error that names the file: it stays down.
    Lost,
    /// It got an empty disk: another node, which is no voter.
    Replaced,
}

/// The fault budget of a run.
#[derive(Clone, Debug)]
pub struct Budget {
    destroyed_max: usize,
    standings: Vec<Standing>,
    exceeded_at: Option<u64>,
    /// Wounds that were put right because no single node could have noticed them.
    pub excluded: u64,
}

impl Budget {
    /// A budget for so many places, of which at most `destroyed_max` are destroyed.
    pub fn new(places: usize, destroyed_max: usize) -> Self {
        Budget { destroyed_max, standings: vec![Standing::Whole; places], exceeded_at: None, excluded: 0 }
    }

    /// The most places that may be destroyed while the rest must go on.
    pub fn minority(places: usize) -> usize {
        places.saturating_sub(1) / 2
    }

    /// How the place stands.
    pub fn standing(&self, place: usize) -> &Standing {
        &self.standings[place]
    }

    /// Whether the place may be hurt: it is whole, and the budget has room for one more.
    pub fn may_hurt(&self, place: usize) -> bool {
        self.standings[place] == Standing::Whole && self.hurt_places() < self.destroyed_max
    }

    /// The place is hurt; nobody knows.
    pub fn hurt(&mut self, place: usize) {
        self.standings[place] = Standing::Wounded;
    }

    /// What hurt the place was put right.
    pub fn exclude(&mut self, place: usize) {
        self.standings[place] = Standing::Whole;
        self.excluded += 1;
    }

    /// The store of the place was refused at `now`.
    pub fn lose(&mut self, now: u64, place: usize) {
        self.standings[place] = Standing::Lost;
        self.note(now);
    }

    /// The place got an empty disk at `now`.
    pub fn replace(&mut self, now: u64, place: usize) {
        self.standings[place] = Standing::Replaced;
        self.note(now);
    }

    /// Whether the place is down for good.
    pub fn is_lost(&self, place: usize) -> bool {
        self.standings[place] == Standing::Lost
    }

    /// Whether the voter that lived here is gone for good.
    pub fn is_spent(&self, place: usize) -> bool {
        matches!(self.standings[place], Standing::Lost | Standing::Replaced)
    }

    /// When so many places were gone that no quorum was left.
    pub fn exceeded_at(&self) -> Option<u64> {
        self.exceeded_at
    }

    fn hurt_places(&self) -> usize {
        self.standings.iter().filter(|standing| **standing != Standing::Whole).count()
    }

    fn note(&mut self, now: u64) {
        let spent = (0..self.standings.len()).filter(|place| self.is_spent(*place)).count();
        if spent > Budget::minority(self.standings.len()) {
            self.exceeded_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_may_be_destroyed_and_no_more() {
        let mut budget = Budget::new(3, Budget::minority(3));
        assert!(budget.may_hurt(0));
        budget.hurt(0);
        assert!(!budget.may_hurt(0) && !budget.may_hurt(1));
        budget.exclude(0);
        budget.hurt(1);
        budget.replace(5, 1);
        assert!(budget.is_spent(1) && !budget.is_lost(1) && budget.exceeded_at().is_none());
        assert_eq!([1, 2, 3, 4, 5, 7].map(Budget::minority), [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn beyond_it_the_moment_is_kept() {
        let mut budget = Budget::new(3, 2);
        budget.lose(7, 0);
        budget.replace(9, 2);
        budget.lose(11, 1);
        assert_eq!(budget.exceeded_at(), Some(9));
    }
}
