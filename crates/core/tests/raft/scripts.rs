//! Runs the golden scripts in `testscripts/raft`; the name of a file is the sentence that it shows.
//!
//! ```text
//! cluster nodes=3 [learners=1] [manual=sync,apply,fetch] [append_bytes=N] [cache_bytes=N] [window=N] [uncommitted_bytes=N]
//! lead 1                      campaigns and settles, without a word
//! timeout 1                   moves the clock to the node's deadline and fires it, alone
//! wait 50                     moves the clock by 50 ms and fires everything that falls due
//! pass 50                     moves the clock by 50 ms and fires nothing
//! deliver|drop|double [from=1] [to=2] [kind=PreVote]     the messages on their way now, in order
//! reverse                     turns the order of the messages on their way
//! settle                      delivers and completes until nothing is left to do
//! propose 1 a b [separately=true]        one proposal, or one each before outputs are taken
//! load 1                      reads what its fetches ask for, so that `fetch 1` answers with what stood there now
//! read 1 | sync [1] | complete 1 (one write) | apply 1 | fetch 1 | crash 1 [kept=N] | start 1 | resign 1
//! connect 1 2 | disconnect 1 2 | gone 1 2                says it of 2 to 1
//! status | network
//! ```
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p slimcluster-core --test raft` rewrites what the scripts show; read the difference.

use std::error::Error;
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use slimcluster_core::NodeId;
use slimcluster_core::raft::{Input, Options, Role, Standing};

use super::cluster::{Automatic, Cluster, Envelope};
use super::print;

type Answer = Result<String, Box<dyn Error>>;

#[derive(Default)]
struct Script {
    cluster: Option<Cluster>,
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Answer {
        let mut args = command.consume_args();
        let mut number = |key: &str| -> Result<Option<usize>, Box<dyn Error>> {
            args.take_key(key).map(|value| value.parse().map_err(Into::into)).transpose()
        };
        if command.name == "cluster" {
            let nodes = number("nodes")?.unwrap_or(3);
            let learners = number("learners")?.unwrap_or(0);
            let mut options = Options::lan();
            options.append_bytes_max = number("append_bytes")?.unwrap_or(options.append_bytes_max);
            options.cache_bytes_max = number("cache_bytes")?.unwrap_or(options.cache_bytes_max);
            options.inflight_messages_max = number("window")?.unwrap_or(options.inflight_messages_max);
            options.uncommitted_bytes_max = number("uncommitted_bytes")?.unwrap_or(options.uncommitted_bytes_max);
            let manual = args.take_key("manual").unwrap_or_default().to_owned();
            args.reject_next()?;
            let mut standings = vec![Standing::Voter; nodes - learners];
            standings.extend(vec![Standing::Learner; learners]);
            let mut cluster = Cluster::new(&standings, options, 1);
            cluster.automatic = Automatic {
                sync: !manual.contains("sync"),
                apply: !manual.contains("apply"),
                fetch: !manual.contains("fetch"),
            };
            self.cluster = Some(cluster);
            return Ok(String::new());
        }

        let cluster = self.cluster.as_mut().ok_or("there is no cluster yet")?;
        let kept = number("kept")?.unwrap_or(0);
        let separately = args.take_key("separately").is_some();
        let select = Select::parse(args.take_key("from"), args.take_key("to"), args.take_key("kind"))?;
        let mut rest: Vec<&str> = Vec::new();
        while let Some(arg) = args.next_pos() {
            rest.push(arg);
        }
        args.reject_next()?;
        let node = |at: usize| -> Result<NodeId, Box<dyn Error>> { Ok(rest.get(at).ok_or("which node?")?.parse()?) };
        let millis = || -> Result<Duration, Box<dyn Error>> {
            Ok(Duration::from_millis(rest.first().ok_or("how long?")?.parse()?))
        };

        match command.name.as_str() {
            "lead" => {
                timeout(cluster, node(0)?);
                cluster.settle();
                if cluster.raft(node(0)?).role() != Role::Leader {
                    return Err(format!("{} does not lead:\n{}", rest[0], cluster.trace).into());
                }
                cluster.trace.clear();
            }
            "timeout" => timeout(cluster, node(0)?),
            "wait" => cluster.advance_to(cluster.now + millis()?),
            "pass" => cluster.now += millis()?,
            "deliver" => {
                for envelope in select.take(&mut cluster.network) {
                    cluster.note(format!(
                        "{:?} <- {:?} {}",
                        envelope.to,
                        envelope.from,
                        print::message(&envelope.message)
                    ));
                    cluster.handle(envelope.to, Input::Message { from: envelope.from, message: envelope.message });
                }
            }
            "drop" => {
                select.take(&mut cluster.network);
            }
            "double" => {
                let mut doubled = select.take(&mut cluster.network);
                doubled.extend(doubled.clone());
                cluster.network.extend(doubled);
            }
            "reverse" => cluster.network.reverse(),
            "settle" => cluster.settle(),
            "propose" => propose(cluster, node(0)?, &rest[1..], separately),
            "read" => {
                if !cluster.read(node(0)?) {
                    cluster.note("refused");
                }
            }
            "sync" if rest.is_empty() => {
                for id in cluster.ids() {
                    cluster.sync(id);
                }
            }
            "complete" => {
                cluster.sync_one(node(0)?);
            }
            "sync" => cluster.sync(node(0)?),
            "apply" => cluster.apply(node(0)?),
            "load" => cluster.load(node(0)?),
            "fetch" => cluster.fetch(node(0)?),
            "crash" => cluster.crash(node(0)?, kept),
            "start" => cluster.start(node(0)?),
            "resign" => cluster.handle(node(0)?, Input::Resign),
            "connect" => cluster.handle(node(0)?, Input::PeerConnected(node(1)?)),
            "disconnect" => cluster.handle(node(0)?, Input::PeerDisconnected(node(1)?)),
            "gone" => cluster.handle(node(0)?, Input::LeaderGone(node(1)?)),
            "status" => status(cluster),
            "network" => {
                for Envelope { from, to, message } in cluster.network.clone() {
                    cluster.note(format!("{from:?} -> {to:?} {}", print::message(&message)));
                }
            }
            other => return Err(format!("unknown command {other:?}").into()),
        }
        Ok(std::mem::take(&mut cluster.trace))
    }
}

/// Which messages are meant.
struct Select {
    from: Option<NodeId>,
    to: Option<NodeId>,
    kind: Option<String>,
}

impl Select {
    fn parse(from: Option<&str>, to: Option<&str>, kind: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let id = |text: Option<&str>| text.map(str::parse::<NodeId>).transpose();
        Ok(Select { from: id(from)?, to: id(to)?, kind: kind.map(str::to_owned) })
    }

    fn take(&self, network: &mut Vec<Envelope>) -> Vec<Envelope> {
        let is_meant = |envelope: &Envelope| {
            let kind = print::message(&envelope.message);
            self.from.is_none_or(|from| from == envelope.from)
                && self.to.is_none_or(|to| to == envelope.to)
                && self.kind.as_ref().is_none_or(|wanted| kind.split(' ').next() == Some(wanted))
        };
        let (taken, kept) = std::mem::take(network).into_iter().partition(is_meant);
        *network = kept;
        taken
    }
}

fn timeout(cluster: &mut Cluster, id: NodeId) {
    if let Some(deadline) = cluster.raft(id).poll_timeout() {
        cluster.now = cluster.now.max(deadline);
    }
    cluster.handle(id, Input::Timeout);
}

fn propose(cluster: &mut Cluster, id: NodeId, payloads: &[&str], separately: bool) {
    let size = if separately { 1 } else { payloads.len() };
    let answers: Vec<_> = payloads.chunks(size).map(|payloads| cluster.propose_silently(id, payloads)).collect();
    for answer in answers {
        match answer {
            Ok(first) => cluster.note(format!("accepted from {first}")),
            Err(error) => cluster.note(format!("refused: {error}")),
        }
    }
    cluster.drain(id);
}

fn status(cluster: &mut Cluster) {
    for id in cluster.ids() {
        if !cluster.is_up(id) {
            cluster.note(format!("{id:?} down"));
            continue;
        }
        let raft = cluster.raft(id);
        let role = format!("{:?}", raft.role()).to_lowercase();
        let line = format!(
            "{id:?} {role} term={} last={} durable={} commit={} applied={}",
            raft.term(),
            raft.last(),
            raft.durable_index(),
            raft.commit_index(),
            raft.applied_index()
        );
        cluster.note(line);
    }
}

#[test]
fn golden_scripts() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/raft");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script::default(), &path).unwrap();
    }
}
