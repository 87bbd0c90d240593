//! Scripts of bootstraps, in `testscripts/node/bootstrap`. `UPDATE_GOLDENFILES=1` rewrites them.
//!
//! Nodes run on one virtual clock; messages arrive at once and in order, writes complete at once, unless a command says otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use slimcluster_core::node::bootstrap::{Bootstrap, BootstrapOptions, Hello, Input, Message, Output};
use slimcluster_core::storage::{Identity, Phase};
use slimcluster_core::types::StoreId;
use slimcluster_core::{Durability, Generation, Instant, NodeId};

struct Node {
    options: BootstrapOptions,
    disk: Identity,
    writing: Option<Identity>,
    holds_writes: bool,
    process: Option<Bootstrap>,
    starts: u64,
}

enum Carried {
    Handshake(Hello),
    Message(Message),
}

#[derive(Default)]
struct Script {
    now: Duration,
    nodes: BTreeMap<String, Node>,
    /// Links by their ends, in both directions; each end as the id under which the link was made.
    links: BTreeMap<(String, String), NodeId>,
    wire: VecDeque<(String, String, Carried)>,
    ids: u128,
    log: String,
}

impl Script {
    fn at(&self) -> Instant {
        Instant::from_micros(self.now.as_micros() as u64)
    }

    fn say(&mut self, node: &str, text: impl AsRef<str>) {
        let _ = writeln!(self.log, "{:>5.1}s {node}: {}", self.now.as_secs_f64(), text.as_ref());
    }

    fn fresh(&mut self) -> Identity {
        self.ids += 1;
        Identity {
            node: NodeId(self.ids),
            store: StoreId(1),
            cluster_id: "script".to_owned(),
            generation: Generation(1),
            phase: Phase::Fresh,
            abandoned: Vec::new(),
        }
    }

    fn node(&mut self, name: &str) -> Result<&mut Node, Box<dyn Error>> {
        self.nodes.get_mut(name).ok_or_else(|| format!("no node {name}").into())
    }

    fn start(&mut self, name: &str) -> Result<(), Box<dyn Error>> {
        let now = self.at();
        let node = self.node(name)?;
        node.starts += 1;
        let rng_seed = node.disk.node.0 as u64 * 100 + node.starts;
        node.process = Some(Bootstrap::new(node.options.clone(), node.disk.clone(), rng_seed, now));
        self.drain(name);
        Ok(())
    }

    fn handle(&mut self, name: &str, input: Input) {
        let now = self.at();
        if let Some(process) = self.nodes.get_mut(name).and_then(|node| node.process.as_mut()) {
            process.handle(now, input);
            self.drain(name);
        }
    }

    fn drain(&mut self, name: &str) {
        loop {
            let Some(node) = self.nodes.get_mut(name) else { return };
            let Some(output) = node.process.as_mut().and_then(Bootstrap::poll_output) else { return };
            match output {
                Output::Send { to, message } => {
                    let peer = self.links.iter().find(|((peer, end), id)| end == name && **id == to && peer != name);
                    if let Some(((peer, _), _)) = peer {
                        self.wire.push_back((name.to_owned(), peer.clone(), Carried::Message(message)));
                    }
                }
                Output::WriteIdentity(identity) => node.writing = Some(identity),
                Output::Formed { uuid, baseline } => {
                    let names: Vec<&str> = baseline.nodes().iter().map(|node| node.name.as_str()).collect();
                    let text = format!("formed {uuid:?} of {}", names.join(" "));
                    self.say(name, text);
                }
                Output::NewIdentity(identity) => {
                    self.say(name, format!("takes the new id {:?}", identity.node));
                    self.cut(name);
                }
                Output::Warning(text) => self.say(name, format!("warns: {text}")),
            }
        }
    }

    /// Takes down every link of a node.
    fn cut(&mut self, name: &str) {
        let ends: Vec<(String, String)> = self.links.keys().filter(|(a, b)| a == name || b == name).cloned().collect();
        self.wire.retain(|(from, to, _)| from != name && to != name);
        for (speaker, listener) in ends {
            if let Some(id) = self.links.remove(&(speaker, listener.clone())) {
                self.handle(&listener, Input::PeerGone(id));
            }
        }
    }

    fn connect(&mut self, a: &str, b: &str) -> Result<(), Box<dyn Error>> {
        if self.links.contains_key(&(a.to_owned(), b.to_owned())) {
            return Ok(());
        }
        for (speaker, listener) in [(a, b), (b, a)] {
            let node = self.node(speaker)?;
            let (id, hello) = (node.disk.node, node.process.as_ref().map(Bootstrap::hello));
            self.links.insert((speaker.to_owned(), listener.to_owned()), id);
            let hello = hello.ok_or("not running")?;
            self.wire.push_back((speaker.to_owned(), listener.to_owned(), Carried::Handshake(hello)));
        }
        Ok(())
    }

    /// Delivers and writes until nothing is under way.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some((from, to, carried)) = self.wire.pop_front() {
                let Some(id) = self.links.get(&(from, to.clone())).copied() else { continue };
                match carried {
                    Carried::Handshake(hello) => self.handle(&to, Input::PeerHello { id, hello }),
                    Carried::Message(message) => self.handle(&to, Input::Message { from: id, message }),
                }
                continue;
            }
            let write = self.nodes.iter().find(|(_, node)| node.writing.is_some() && !node.holds_writes);
            let Some(name) = write.map(|(name, _)| name.clone()) else { return };
            self.persist(&name);
            self.handle(&name, Input::IdentityWritten);
        }
        self.log.push_str("the nodes never fall silent\n");
    }

    fn persist(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name)
            && let Some(identity) = node.writing.take()
        {
            node.disk = identity;
            let phase = match &node.disk.phase {
                Phase::Fresh => "is fresh".to_owned(),
                Phase::Promised(set) => {
                    let names: Vec<&str> = set.nodes().iter().map(|node| node.name.as_str()).collect();
                    format!("promises {}", names.join(" "))
                }
                Phase::Formed { .. } => return,
                Phase::JoinOnly { uuid } => format!("may only join {uuid:?}"),
            };
            self.say(name, phase);
        }
    }

    /// Lets time pass; what is due happens when it is due.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        loop {
            let deadlines = self.nodes.iter().filter_map(|(name, node)| {
                let at = node.process.as_ref()?.poll_timeout()?;
                Some((Duration::from_micros(at.as_micros()).max(self.now), name.clone()))
            });
            let Some((at, name)) = deadlines.min().filter(|(at, _)| *at <= end) else { break };
            self.now = at;
            self.handle(&name, Input::Timeout);
            self.settle();
        }
        self.now = end;
    }

    /// Does something to one node.
    fn change(&mut self, command: &str, name: &str, is_written: bool) -> Result<(), Box<dyn Error>> {
        self.node(name)?;
        match command {
            // All links of the node go down.
            "cut" => self.cut(name),
            // Its writes do not complete, or do again.
            "hold" => self.node(name)?.holds_writes = true,
            "release" => self.node(name)?.holds_writes = false,
            "start" => self.start(name)?,
            // The data directory of a node that is down is empty.
            "wipe" => {
                let disk = self.fresh();
                self.node(name)?.disk = disk;
            }
            // The process ends; a write under way is lost, or durable.
            "crash" => {
                if is_written {
                    self.persist(name);
                }
                let forgotten = self.node(name)?.options.is_ephemeral().then(|| self.fresh());
                let node = self.node(name)?;
                (node.process, node.writing, node.holds_writes) = (None, None, false);
                node.disk = forgotten.unwrap_or(node.disk.clone());
                self.cut(name);
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        self.settle();
        Ok(())
    }

    fn status(&mut self) {
        let lines: Vec<(String, String)> = self
            .nodes
            .iter()
            .map(|(name, node)| {
                let phase = match &node.disk.phase {
                    Phase::Fresh => "fresh".to_owned(),
                    Phase::Promised(_) => "promised".to_owned(),
                    Phase::Formed { uuid, .. } => format!("formed {uuid:?}"),
                    Phase::JoinOnly { uuid } => format!("may only join {uuid:?}"),
                };
                let waiting = node.process.as_ref().map_or("down".to_owned(), Bootstrap::waiting);
                let text = if waiting.is_empty() { phase } else { format!("{phase}; {waiting}") };
                (name.clone(), text)
            })
            .collect();
        lines.iter().for_each(|(name, text)| self.say(name, text));
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let name = command.consume_args().next_pos().unwrap_or_default().to_owned();
        match command.name.as_str() {
            // connect [A B ..]: links each of these, or everybody who runs, to each other.
            "connect" => {
                let mut names: Vec<String> = std::iter::from_fn(|| args.next_pos()).map(str::to_owned).collect();
                if names.is_empty() {
                    let running = self.nodes.iter().filter(|(_, node)| node.process.is_some());
                    names = running.map(|(name, _)| name.clone()).collect();
                }
                for (at, a) in names.iter().enumerate() {
                    names[at + 1..].iter().try_for_each(|b| self.connect(a, b))?;
                }
                self.settle();
            }
            "status" => self.status(),
            // wait SECONDS
            "wait" => {
                self.wait(Duration::from_secs_f64(name.parse()?));
                args.next_pos();
            }
            // node NAME [called=NAME] [count=N] [names="A B C"] [memory=true] [alone=true]: makes a node and starts it.
            "node" => {
                let is = |value: Option<&str>| value == Some("true");
                let count = args.take_key("count").map_or(Ok(3), str::parse)?;
                let called = args.take_key("called").unwrap_or(&name).to_owned();
                let durability = if is(args.take_key("memory")) { Durability::Ephemeral } else { Durability::Fsync };
                let options = BootstrapOptions {
                    initial_names: args.take_key("names").map(|names| names.split(' ').map(str::to_owned).collect()),
                    has_discovery: !is(args.take_key("alone")),
                    ..BootstrapOptions::new(called, count, durability)
                };
                let disk = self.fresh();
                let node = Node { options, disk, writing: None, holds_writes: false, process: None, starts: 0 };
                self.nodes.insert(name.clone(), node);
                self.start(&name)?;
                args.next_pos();
            }
            other => {
                self.change(other, &name, args.take_key("written") == Some("true"))?;
                args.next_pos();
            }
        }
        args.reject_next()?;
        Ok(std::mem::take(&mut self.log))
    }
}

#[test]
fn scripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testscripts/node/bootstrap");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        goldenscript::run(&mut Script::default(), &file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}
