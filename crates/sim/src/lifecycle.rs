//! Starts and crashes.

use std::net::{Ipv4Addr, SocketAddr};

use std::sync::Arc;
use std::time::Duration;

use slimcluster_core::machine::Host;
use slimcluster_core::node::bootstrap::BootstrapOptions;
use slimcluster_core::node::io::{Input, Meta};
use slimcluster_core::node::{ConsensusOptions, Membership, NodeOptions, ProposalOptions};
use slimcluster_core::situations::{Situation, sometimes};
use slimcluster_core::storage::Recovered;
use slimcluster_core::types::StoreId;
use slimcluster_core::{Durability, NodeId, Nonce, raft, swim};
use slimcluster_wal::{FreshIds, Options as WalOptions, Wal, WalError};

use crate::application::{Orders, Sabotaged};
use crate::checkers::{Verdict, Violation};
use crate::faults::Undo;
use crate::network::Endpoint;
use crate::phases::Phase;
use crate::process::Process;
use crate::streams::{Concern, stream};
use crate::world::{Event, MILLISECOND, Place, SECOND, World};

/// The cluster id of every world.
pub const CLUSTER_ID: &str = "sim";
/// The name that an operator gives by mistake.
const OTHER_CLUSTER_ID: &str = "another";
/// One million: probabilities are parts of it.
const MILLION: u64 = 1_000_000;
/// Calls that a recovery makes to the disk: a crash in it strikes before one of so many.
const CALLS_OF_A_RECOVERY: u64 = 120;
/// Calls that one batch makes to the disk: a crash in it strikes before one of so many.
const CALLS_OF_A_BATCH: u64 = 8;
/// After more starts in a row that failed, the next one takes its time.
const FAILED_STARTS_QUICK: u32 = 8;
/// A process in a crash loop lives for so long at most: some win an election in that time.
const SHORT_LIFE: u64 = SECOND;

impl World {
    /// A process starts at a place: it opens the store, which may crash as well, and joins the network.
    pub(crate) fn start(&mut self, place: usize) -> Verdict {
        self.places[place].start_planned = false;
        if self.places[place].process.is_some() || self.places[place].trouble.is_held_down {
            return Ok(());
        }
        if self.budget.is_lost(place) {
            return Ok(());
        }
        self.judge_wounds(place);
        self.places[place].starts += 1;
        let number = (place as u64) << 32 | self.places[place].starts;
        self.places[place].rng = stream(self.seed, Concern::Start, number);
        self.maybe_move(place);
        let endpoint = Endpoint { place, start: self.places[place].starts };
        if std::mem::take(&mut self.places[place].trouble.wrong_cluster_id) {
            self.try_wrong_cluster_id(place)?;
        }
        let disk = self.places[place].disk.mount();
        let loops = self.places[place].trouble.crash_loop > 0;
        self.places[place].trouble.crash_loop = self.places[place].trouble.crash_loop.saturating_sub(1);
        let rate = match self.phase {
            _ if loops => MILLION / 2,
            Phase::Faults => self.swarm.recovery_crash,
            _ => 0,
        };
        let crashes = self.places[place].rng.chance(rate, MILLION);
        if crashes {
            let calls = self.places[place].rng.below(CALLS_OF_A_RECOVERY);
            self.places[place].disk.crash_after(calls);
        }
        let fresh = FreshIds {
            node: NodeId(self.places[place].rng.next_u128()),
            store: StoreId(self.places[place].rng.next_u128()),
        };
        let rng_seed = self.places[place].rng.next();
        match Wal::open(disk, self.wal_options(), CLUSTER_ID, fresh) {
            Ok(opened) if !self.places[place].disk.is_dead() => {
                if crashes {
                    // It made fewer calls than were drawn: it lives.
                    self.places[place].disk.crash_after(u64::MAX);
                }
                self.on_opened(endpoint, opened, rng_seed)?;
                if loops {
                    let (delay, power_loss) = {
                        let rng = &mut self.places[place].rng;
                        (rng.below(SHORT_LIFE), rng.chance(1, 2))
                    };
                    self.after(delay, Event::Undo(Undo::Crash(endpoint, power_loss)));
                }
                Ok(())
            }
            opened => self.on_open_failed(endpoint, opened.err()),
        }
    }

    pub(crate) fn wal_options(&self) -> WalOptions {
        WalOptions {
            segment_bytes: self.swarm.segment_bytes,
            tail_bytes_max: self.swarm.tail_bytes_max,
            #[cfg(feature = "mutants")]
            mutant: self.options.mutant,
            ..WalOptions::default()
        }
    }

    fn on_opened(&mut self, endpoint: Endpoint, opened: (Wal, Recovered), rng_seed: u64) -> Verdict {
        let place = endpoint.place;
        let recovered = &opened.1;
        self.stats.starts += 1;
        self.places[place].failed_starts = 0;
        let (identity, last) = (recovered.identity.clone(), recovered.log.last());
        self.trace.event(self.now, [12, place as u64, last.index.0], || {
            format!("n{} starts: generation {}, log to {last}, {:?}", place + 1, identity.generation, identity.phase)
        });
        self.checkers.on_opened(endpoint, recovered)?;
        let mut host = Host::new(identity.node, identity.generation);
        let address = self.places[place].address;
        let options = self.node_options(place);
        let broken = |reason: String| Violation::of("recovery", format!("n{}: {reason}", place + 1));
        let name = self.workload.machine_name().to_owned();
        let orders = Arc::new(Orders::default());
        self.give_orders(endpoint, &orders);
        let machine = Sabotaged::new(self.workload.start(endpoint), Arc::clone(&orders));
        let machine = self.checkers.watch(endpoint, Box::new(machine));
        host.register(&name, machine).map_err(|error| broken(error.to_string()))?;
        let clock = (self.now, &self.places[place].clock);
        let mut process = Process::new(endpoint, address, clock, options, opened, host, rng_seed).map_err(broken)?;
        process.orders = orders;
        process.inbox.push_back(Input::Register { name });
        self.places[place].process = Some(process);
        self.network.listen(address, endpoint);
        self.wake(endpoint, self.now);
        if std::mem::take(&mut self.places[place].trouble.power_loss_after_start) {
            let delay = self.places[place].rng.below(150 * MILLISECOND);
            self.after(delay, Event::Undo(Undo::Crash(endpoint, true)));
        }
        Ok(())
    }

    /// A start with the name of another cluster is refused by name, and changes nothing (O1).
    fn try_wrong_cluster_id(&mut self, place: usize) -> Verdict {
        if self.checkers.stores[place].durable_identity().is_none() {
            // Whatever is named first is the name.
            return Ok(());
        }
        let nobody = FreshIds { node: NodeId(0), store: StoreId(0) };
        match Wal::open(self.places[place].disk.mount(), self.wal_options(), OTHER_CLUSTER_ID, nobody) {
            Err(WalError::OtherCluster { found, expected, .. })
                if (found.as_str(), expected.as_str()) == (CLUSTER_ID, OTHER_CLUSTER_ID) =>
            {
                sometimes(Situation::WrongClusterIdRefused);
                Ok(())
            }
            Err(error) if self.places[place].disk.has_failed() || self.is_wound(place, &error) => Ok(()),
            opened => {
                let detail = format!("n{} started as {OTHER_CLUSTER_ID:?}: {:?}", place + 1, opened.err());
                Err(Violation::of("clusters never mix", detail))
            }
        }
    }

    fn on_open_failed(&mut self, endpoint: Endpoint, error: Option<WalError>) -> Verdict {
        let place = endpoint.place;
        let disk = &self.places[place].disk;
        let is_dead = disk.is_dead();
        let is_full = disk.is_limited() && error.as_ref().is_some_and(lacks_space);
        self.trace.event(self.now, [13, place as u64, 0], || format!("n{} dies while it starts: {error:?}", place + 1));
        let power_loss = self.places[place].rng.chance(1, 2);
        match error {
            Some(error) if !is_dead && self.is_wound(place, &error) => {
                self.end(place, power_loss);
                self.lose_store(place, &error);
                return Ok(());
            }
            Some(error) if !is_dead && !is_full && !self.places[place].disk.has_failed() => {
                return Err(Violation::of("recovery", format!("n{} cannot open its store: {error}", place + 1)));
            }
            _ => {}
        }
        self.stats.recovery_crashes += 1;
        self.places[place].failed_starts += 1;
        self.note_failed_start(self.places[place].failed_starts);
        self.end(place, power_loss);
        self.plan_start(place);
        Ok(())
    }

    /// The process at a place ends; where it was writing, some of the batch may reach the disk before.
    pub(crate) fn crash(&mut self, place: usize, power_loss: bool) -> Verdict {
        let Place { process, rng, disk, .. } = &mut self.places[place];
        let Some(process) = process.as_mut() else { return Ok(()) };
        if process.writing_until.is_some() && !process.writing.is_empty() && rng.chance(3, 4) {
            disk.crash_after(rng.below(CALLS_OF_A_BATCH));
            // Nobody is left to hear whether it was written.
            let _ = process.wal.write(&std::mem::take(&mut process.writing));
        }
        self.stats.crashes += 1;
        self.end(place, power_loss);
        Ok(())
    }

    /// The process at a place is gone, with the power or without.
    fn end(&mut self, place: usize, power_loss: bool) {
        self.trace.event(self.now, [14, place as u64, u64::from(power_loss)], || {
            format!("n{} {}", place + 1, if power_loss { "loses power" } else { "crashes" })
        });
        let start = self.places[place].starts;
        if let Some(process) = self.places[place].process.take() {
            self.note_end(&process, power_loss);
            self.forget_requests(&process);
            self.workload.end(process.endpoint);
            self.checkers.on_ended(process.endpoint);
        }
        if power_loss {
            self.places[place].disk.power_loss();
        } else {
            self.places[place].disk.process_crash();
        }
        self.places[place].trouble.crash = None;
        self.network.process_ended(self.now, Endpoint { place, start }, power_loss);
    }

    fn node_options(&mut self, place: usize) -> NodeOptions {
        let swarm = &self.swarm;
        let name = self.places[place].name.clone();
        let swim = if swarm.quick_swim { swim::Options::local() } else { swim::Options::lan() };
        let raft = raft::Options {
            append_bytes_max: swarm.message_bytes_max,
            cache_bytes_max: swarm.cache_bytes_max,
            apply_bytes_max: swarm.apply_bytes_max,
            uncommitted_bytes_max: swarm.uncommitted_bytes_max,
            inflight_messages_max: swarm.inflight_messages_max,
            reads_max: swarm.reads_max,
            ..raft::Options::lan()
        };
        let proposals = ProposalOptions { pending_bytes_max: swarm.pending_bytes_max, ..ProposalOptions::default() };
        let names = swarm.named.then(|| self.places.iter().map(|place| place.name.clone()).collect());
        let bootstrap = BootstrapOptions::new(name.clone(), swarm.nodes, Durability::Fsync);
        let release = Duration::from_micros(swarm.release);
        let bootstrap = BootstrapOptions { initial_names: names, release, ..bootstrap };
        NodeOptions {
            name,
            address: self.places[place].address,
            meta: Meta::default(),
            codec: swarm.codecs.get(place).copied().unwrap_or_default(),
            nonce: Nonce(self.places[place].rng.next()),
            membership: if swarm.static_members { Membership::Static } else { Membership::Swim(swim) },
            announce: false,
            consensus: Some(ConsensusOptions { raft, bootstrap, proposals }),
            restart_within: Duration::from_secs(10),
        }
    }

    /// Plans the next start of a place that is down.
    pub(crate) fn plan_start(&mut self, place: usize) {
        let Place { start_planned, process, trouble, .. } = &self.places[place];
        if *start_planned || process.is_some() || trouble.is_held_down || self.budget.is_lost(place) {
            return;
        }
        self.places[place].start_planned = true;
        let delay = match self.phase {
            // Many starts are quick, as a supervisor's are: what was left in the cache is still there.
            Phase::Faults if self.places[place].rng.chance(1, 2) => self.places[place].rng.below(20 * MILLISECOND),
            Phase::Faults if self.places[place].trouble.crash_loop == 0 => {
                self.places[place].rng.below(self.swarm.down)
            }
            _ => self.places[place].rng.below(500 * MILLISECOND),
        };
        // Each start reads the whole log: what fails so often fails for a while, and a supervisor does not insist either.
        let is_hopeless = self.places[place].failed_starts > FAILED_STARTS_QUICK;
        let delay = if is_hopeless { delay + self.places[place].rng.below(SECOND) } else { delay };
        self.after(delay, Event::Start(place));
    }

    /// A restarted node may come up elsewhere.
    fn maybe_move(&mut self, place: usize) {
        if self.places[place].starts > 1 && self.places[place].rng.chance(self.swarm.new_address, MILLION) {
            let host = Ipv4Addr::new(10, 0, 1 + (self.places[place].starts % 250) as u8, place as u8 + 1);
            // Addresses are handed out again: what was another node's may now be this one's, and theirs its own.
            let other = self.places[place].rng.below(2 * self.swarm.nodes as u64) as usize;
            let fresh = SocketAddr::from((host, 7_000));
            self.places[place].address = match self.places.get_mut(other).filter(|other| other.process.is_none()) {
                Some(other) => std::mem::replace(&mut other.address, fresh),
                None => fresh,
            };
        }
    }
}

/// Whether the store lacks space and nothing else.
fn lacks_space(error: &WalError) -> bool {
    match error {
        WalError::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
        error => error.is_retryable(),
    }
}
