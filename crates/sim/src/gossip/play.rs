//! The acts: how each begins, what must follow within which time, and how it ends.

use std::collections::BTreeSet;

use slimcluster_core::NodeId;
use slimcluster_core::node::Node;
use slimcluster_core::node::io::{Input, Meta};
use slimcluster_core::random::Random;
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::swim::MemberState;

use super::{Act, Cluster};
use crate::checkers::swim_views::{self, Standing};
use crate::checkers::{Verdict, Violation};
use crate::streams::{Concern, stream};
use crate::swarm::log_uniform;
use crate::world::SECOND;

/// The members start within this time.
const GATHERED: u64 = 5 * SECOND;
/// Datagrams that one member sends per probe interval while nothing is wrong: a ping, an answer, and a few for syncs and seeds.
const DATAGRAMS_PER_INTERVAL_MAX: u64 = 6;
/// Who joins has read the table of another after so many probe intervals: it takes a few round trips.
const JOINED_INTERVALS: u64 = 3;
/// After [`Cluster::spread_time`] three quarters of the members know of a change, and who joins knows three quarters of them
/// sooner.
const INFORMED: (usize, usize) = (3, 4);
/// Members that are slow at the same time, and a third of all at most.
const SLOW_MAX: u64 = 5;
/// Among fewer others, to be cut off and to be the last one alive look the same, and nobody tries to tell them apart.
const ISOLATION_OTHERS_MIN: usize = 4;

impl Cluster {
    /// Runs to the end, or to the first act that would begin after the virtual time `until`.
    pub fn run(&mut self, until: u64) -> Verdict {
        self.gather()?;
        for (number, act) in self.plan.swarm.acts.clone().into_iter().enumerate() {
            if self.now > until {
                break;
            }
            let mut rng = stream(self.plan.seed, Concern::Act, number as u64);
            self.trace.event(self.now, [40, number as u64, act as u64], || format!("act {number}: {act:?}"));
            self.play(act, number, &mut rng)?;
            self.settle()?;
        }
        Ok(())
    }

    /// Everybody joins by the gate, which then leaves in half of the worlds: its address leads nowhere from then on.
    fn gather(&mut self) -> Verdict {
        let mut rng = stream(self.plan.seed, Concern::Act, u64::MAX);
        let members = self.plan.swarm.members;
        self.start(0)?;
        let mut starts: Vec<(u64, usize)> = (1..=members).map(|seat| (rng.below(GATHERED), seat)).collect();
        starts.sort_unstable();
        for (at, seat) in starts {
            self.run_until(at)?;
            self.start(seat)?;
        }
        self.settle()?;
        if rng.chance(1, 2) {
            self.leave(0)?;
            self.settle()?;
        }
        Ok(())
    }

    fn play(&mut self, act: Act, number: usize, rng: &mut Random) -> Verdict {
        // Of fewer than three there is nobody left to compare.
        let up = self.up();
        let Some(&chosen) = rng.pick(&up).filter(|_| up.len() >= 3) else { return self.quiet(rng) };
        match act {
            Act::Quiet => self.quiet(rng),
            Act::Crash => self.crash_some(rng),
            Act::Takeover => self.take_over(chosen, number),
            Act::Leave => self.leave(chosen),
            Act::Restart => self.restart(chosen, rng),
            Act::PairCut => self.cut_pair(rng),
            Act::Isolation => self.isolate(chosen, rng),
            Act::Partition => {
                let (left, right): (Vec<usize>, Vec<usize>) = up.iter().partition(|_| rng.chance(1, 2));
                up.iter().for_each(|seat| self.verdicts.excuse(self.seats[*seat].id));
                self.part(&left, &right, rng)
            }
            Act::Pause => {
                self.verdicts.excuse(self.seats[chosen].id);
                let time = SECOND + rng.below(3 * self.patience());
                self.freeze(chosen, time);
                self.run_until(self.now + time)
            }
            Act::Slow => self.slow_down(rng),
            Act::Advertise => self.advertise(chosen, rng),
            Act::Replay => self.replay(rng),
            Act::Turmoil => self.turmoil(chosen, number, rng),
        }
    }

    /// S2 and S7: nothing is wrong, so nobody is taken for dead, and each member's load does not depend on how many there are.
    fn quiet(&mut self, rng: &mut Random) -> Verdict {
        let intervals = 10 + rng.below(50);
        let (before, members) = (self.stats.datagrams, self.up().len() as u64);
        let time = intervals * self.interval();
        self.run_until(self.now + time)?;
        self.stats.watched += members * time;
        let sent = self.stats.datagrams - before;
        let most = DATAGRAMS_PER_INTERVAL_MAX * members * intervals;
        if sent > most && self.is_reliable() {
            let detail =
                format!("{members} members sent {sent} datagrams in {intervals} intervals, {most} are the most");
            return Err(Violation::of("load of a member", detail));
        }
        Ok(())
    }

    /// S1.
    fn crash_some(&mut self, rng: &mut Random) -> Verdict {
        let mut up = self.up();
        rng.shuffle(&mut up);
        let quarter = (up.len() as u64 / 4).max(1);
        up.truncate(1 + rng.below(quarter) as usize);
        for &seat in &up {
            self.crash(seat);
        }
        if up.len() > 1 {
            sometimes(Situation::MembersCrashedTogether);
        }
        self.wait("completeness", self.detection_time())?;
        for &seat in &up {
            self.start(seat)?;
        }
        self.run_until(self.now + JOINED_INTERVALS * self.interval())?;
        up.into_iter().try_for_each(|seat| self.check_joined(seat))
    }

    pub(super) fn crash(&mut self, seat: usize) {
        self.verdicts.excuse(self.seats[seat].id);
        let now = self.now;
        self.end(seat, Standing::Crashed(now));
    }

    /// S1, where somebody else answers at the address.
    fn take_over(&mut self, chosen: usize, number: usize) -> Verdict {
        self.crash(chosen);
        self.succeed(chosen, number)?;
        self.wait("completeness", self.detection_time() + self.sweep())
    }

    /// The newcomer of this act starts at the address of a member that has ended.
    pub(super) fn succeed(&mut self, gone: usize, number: usize) -> Verdict {
        let newcomer = self.plan.swarm.members + 1 + number;
        self.seats[newcomer].address = self.seats[gone].address;
        sometimes(Situation::AddressTakenOver);
        self.start(newcomer)
    }

    /// S8. The process goes once it has said so to a few.
    fn leave(&mut self, seat: usize) -> Verdict {
        self.verdicts.leaves(self.seats[seat].id);
        self.tell(seat, Input::Leave)?;
        self.await_stop(seat)?;
        let now = self.now;
        self.end(seat, Standing::Left(now));
        self.spread(seat)
    }

    fn await_stop(&mut self, seat: usize) -> Verdict {
        let deadline = self.now + 5 * SECOND;
        while !self.seats[seat].is_stopped() {
            if self.now > deadline {
                return Err(Violation::of("a stop ends", format!("m{seat} still runs")));
            }
            self.run_until(self.now + SECOND / 100)?;
        }
        Ok(())
    }

    /// S8: an announced restart is no failure, however long a suspicion lasts.
    fn restart(&mut self, seat: usize, rng: &mut Random) -> Verdict {
        self.stop(seat)?;
        let away = self.patience() + rng.below(2 * self.patience());
        self.run_until(self.now + away.min(40 * SECOND))?;
        if rng.chance(3, 4) {
            self.seats[seat].address.set_port(7_001);
            sometimes(Situation::MemberMoved);
        }
        self.start(seat)
    }

    /// A member announces a restart and ends.
    pub(super) fn stop(&mut self, seat: usize) -> Verdict {
        self.tell(seat, Input::Shutdown)?;
        self.await_stop(seat)?;
        let now = self.now;
        self.end(seat, Standing::Crashed(now));
        Ok(())
    }

    /// S2: who is reached through others is not even suspected.
    fn cut_pair(&mut self, rng: &mut Random) -> Verdict {
        let mut up = self.up();
        rng.shuffle(&mut up);
        let (left, right) = (up[0], up[1]);
        self.verdicts.no_suspicions = self.is_reliable();
        sometimes(Situation::PairCut);
        self.cut(&[left], &[right], true);
        let time = 3 * self.sweep();
        self.run_until(self.now + time)?;
        self.stats.watched += up.len() as u64 * time;
        self.cut(&[left], &[right], false);
        Ok(())
    }

    /// Rule 32: who can talk to nobody tells nobody that others are dead, not even once it is back. It may give them up for itself, and they
    /// may take it for dead.
    fn isolate(&mut self, chosen: usize, rng: &mut Random) -> Verdict {
        let others: Vec<usize> = self.up().into_iter().filter(|other| *other != chosen).collect();
        let id = self.seats[chosen].id;
        sometimes(Situation::MemberIsolated);
        if others.len() < ISOLATION_OTHERS_MIN {
            others.iter().for_each(|other| self.verdicts.excuse(self.seats[*other].id));
            return self.part(&[chosen], &others, rng);
        }
        // Whoever is suspected already may go on to be taken for dead while nobody can know yet that anything is cut.
        let well = self.taken_for_alive(chosen);
        self.claims.cut_off(Some((self.endpoint(chosen), well)));
        self.verdicts.excuse(id);
        self.part(&[chosen], &others, rng)?;
        // A probe that went nowhere may still fail; the next one is answered.
        self.run_until(self.now + 2 * self.interval())?;
        self.verdicts.is_back(id);
        Ok(())
    }

    fn taken_for_alive(&self, observer: usize) -> BTreeSet<NodeId> {
        let node = self.seats[observer].node.as_ref();
        let members = node.into_iter().flat_map(Node::members);
        members.filter(|member| member.state == MemberState::Alive).map(|member| member.id).collect()
    }

    /// Cuts two sides from each other for a while, often longer than any suspicion lasts.
    fn part(&mut self, left: &[usize], right: &[usize], rng: &mut Random) -> Verdict {
        self.cut(left, right, true);
        let time = SECOND + rng.below(self.sweep() + 8 * self.patience());
        self.run_until(self.now + time)?;
        self.cut(left, right, false);
        Ok(())
    }

    fn cut(&mut self, left: &[usize], right: &[usize], is_cut: bool) {
        self.cut_one_way(left, right, is_cut);
        self.cut_one_way(right, left, is_cut);
    }

    /// What the ones say does not reach the others any more, or does again.
    pub(super) fn cut_one_way(&mut self, from: &[usize], to: &[usize], is_cut: bool) {
        for (from, to) in from.iter().flat_map(|from| to.iter().map(move |to| (*from, *to))) {
            self.network.cut(from, to, is_cut);
        }
    }

    /// S2: whoever is slow may be taken for dead, and takes nobody for dead who is well.
    fn slow_down(&mut self, rng: &mut Random) -> Verdict {
        let mut slow = self.up();
        rng.shuffle(&mut slow);
        slow.truncate((1 + rng.below(SLOW_MAX) as usize).min(slow.len() / 3).max(1));
        slow.iter().for_each(|seat| self.verdicts.is_back(self.seats[*seat].id));
        sometimes(Situation::MembersSlow);
        let longest = log_uniform(rng, self.interval() / 10, 3 * self.interval());
        let end = self.now + (10 + rng.below(30)) * self.interval();
        while self.now < end {
            for &seat in &slow {
                if self.seats[seat].frozen_until <= self.now && rng.chance(1, 2) {
                    self.freeze(seat, rng.below(longest));
                }
            }
            self.run_until(self.now + self.interval() / 20)?;
        }
        self.run_until(self.now + longest)
    }

    fn advertise(&mut self, seat: usize, rng: &mut Random) -> Verdict {
        let meta = Meta { http: Some(format!("10.1.0.{seat}:{}", 8_000 + rng.below(1_000))), consensus: false };
        self.seats[seat].meta = meta.clone();
        self.tell(seat, Input::Advertise(meta))?;
        self.spread(seat)
    }

    /// S4: what is old has no effect, whoever sends it from wherever.
    fn replay(&mut self, rng: &mut Random) -> Verdict {
        let recorded: Vec<_> = self.recorded.iter().cloned().collect();
        // Old enough to have been overtaken: who crashed since is dead, who came back has a new number.
        let mut up = self.up();
        rng.shuffle(&mut up);
        self.crash(up[0]);
        self.wait("completeness", self.detection_time())?;
        for (from, bytes) in recorded {
            let up = self.up();
            let (Some(to), Some(other)) = (rng.pick(&up), rng.pick(&up)) else { break };
            let from = if rng.chance(1, 2) { from } else { self.seats[*other].address };
            self.inject(from, *to, bytes);
            self.run_until(self.now + rng.below(SECOND / 10))?;
        }
        sometimes(Situation::DatagramsReplayed);
        // It is still as dead as before.
        self.wait("completeness", self.sweep())?;
        self.start(up[0])
    }

    /// Three quarters of the members know a change soon; the others are found by the syncs.
    fn spread(&mut self, seat: usize) -> Verdict {
        if !self.is_reliable() {
            return Ok(());
        }
        self.run_until(self.now + self.spread_time())?;
        let (informed, all) = swim_views::knowing(&self.subjects(), &self.seats[seat].subject());
        if informed * INFORMED.1 < all * INFORMED.0 {
            let detail = format!("{informed} of {all} members know what m{seat} has become");
            return Err(Violation::of("dissemination", detail));
        }
        Ok(())
    }

    /// Who joins reads the table of another, and so knows most members soon.
    fn check_joined(&self, seat: usize) -> Verdict {
        let node = self.seats[seat].node.as_ref().filter(|_| self.is_reliable());
        let Some(node) = node else { return Ok(()) };
        let (known, all) = (node.members().len(), self.up().len());
        if known * INFORMED.1 < all * INFORMED.0 {
            return Err(Violation::of("joining", format!("m{seat} knows {known} of {all} members")));
        }
        Ok(())
    }

    /// S3: all members see all others as they are, in time.
    fn settle(&mut self) -> Verdict {
        self.wait("convergence of views", 4 * self.sweep() + 60 * SECOND)?;
        self.verdicts.settle();
        // Who has started since and never heard of a dead member may still hear of it, and find out.
        let dead = self.seats.iter().filter(|seat| matches!(seat.standing, Standing::Crashed(_)));
        dead.for_each(|seat| self.verdicts.excuse(seat.id));
        self.claims.cut_off(None);
        Ok(())
    }

    fn wait(&mut self, property: &'static str, time: u64) -> Verdict {
        let deadline = self.now + time;
        loop {
            let Some(missing) = swim_views::missing(&self.subjects()) else { return Ok(()) };
            if self.now >= deadline {
                return Err(Violation::of(property, format!("after {} s: {missing}", time / SECOND)));
            }
            self.run_until(self.now + self.interval())?;
        }
    }

    pub(super) fn interval(&self) -> u64 {
        self.swim.probe_interval.as_micros() as u64
    }

    /// Everybody has probed everybody.
    fn sweep(&self) -> u64 {
        2 * self.up().len() as u64 * self.interval()
    }

    /// No suspicion lasts longer: the logarithm of forty is below two.
    pub(super) fn patience(&self) -> u64 {
        2 * u64::from(self.swim.suspicion_mult) * self.interval()
    }

    /// A crashed member is dead to everybody by then, though nobody told anybody.
    fn detection_time(&self) -> u64 {
        self.sweep() + 2 * self.patience() + 5 * self.interval()
    }

    /// Each member that knows tells two others per interval: after six intervals seven hundred would know.
    fn spread_time(&self) -> u64 {
        8 * self.interval()
    }

    /// The network loses nothing by itself.
    fn is_reliable(&self) -> bool {
        let faults = &self.plan.swarm.network;
        faults.loss == 0 && faults.corrupt == 0
    }
}
