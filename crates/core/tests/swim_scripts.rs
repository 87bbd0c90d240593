//! The golden scripts of SWIM in `testscripts/swim/`: each file is one behaviour, its name the sentence.
//!
//! Commands: `cluster N` starts N nodes and lets them settle; `start ID seeds=IDS [at=ADDRESS] [generation=N]`, `crash ID`, `restart ID
//! [at=ADDRESS]`, `stall ID TIME`, `leave ID`, `restarting ID TIME`, `cut IDS IDS` (both ways), `heal`, `run TIME`, `members ID`, `trace on|off`
//! (every datagram, or events only), and `say from=ID to=ID about=ID state=STATE [generation=N] [incarnation=N] [age=TIME]`, which forges one
//! update. `UPDATE_GOLDENFILES=1 cargo test -p slimcluster-core` rewrites the expected output.

mod swim_support;

use std::error::Error;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use goldenscript::{Command, Context, Runner};
use slimcluster_core::swim::{Body, Incarnation, Input, Key, MemberState, Message, Seq, Update};
use slimcluster_core::{Generation, NodeId};
use swim_support::{Net, address, describe_member};

struct Script {
    net: Net,
}

#[test]
fn scripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testscripts/swim");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 9, "{paths:?}");
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script { net: Net::new(1) }, path).unwrap();
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let net = &mut self.net;
        let mut output = String::new();
        match command.name.as_str() {
            "cluster" => {
                for id in 1..=next(&mut args)?.parse()? {
                    net.start(id, address(id), vec![address(1)]);
                }
                net.run_until(Duration::from_secs(30), Net::is_settled);
                net.run_for(Duration::from_secs(20));
                net.lines.clear();
            }
            "start" => {
                let id = next(&mut args)?.parse()?;
                let seeds = ids(args.take_key("seeds").unwrap_or_default())?;
                let at = keyed::<SocketAddr>(&mut args, "at")?.unwrap_or(address(id));
                let generation = keyed::<u64>(&mut args, "generation")?;
                let seeds = seeds.into_iter().map(address).collect();
                match generation {
                    Some(generation) => net.start_as(id, at, seeds, generation),
                    None => net.start(id, at, seeds),
                }
            }
            "crash" => net.crash(next(&mut args)?.parse()?),
            "restart" => {
                let id = next(&mut args)?.parse()?;
                let at = keyed::<SocketAddr>(&mut args, "at")?.unwrap_or(address(id));
                net.crash(id);
                net.restart(id, at);
            }
            "stall" => net.stall(next(&mut args)?.parse()?, time(&next(&mut args)?)?),
            "leave" => net.input(next(&mut args)?.parse()?, Input::Leave),
            "restarting" => {
                let id = next(&mut args)?.parse()?;
                net.input(id, Input::Restarting { for_: time(&next(&mut args)?)? });
            }
            "cut" => {
                let (left, right) = (ids(&next(&mut args)?)?, ids(&next(&mut args)?)?);
                net.cut_between(&left, &right);
            }
            "heal" => net.cut.clear(),
            "run" => net.run_for(time(&next(&mut args)?)?),
            "members" => {
                for member in net.nodes[&next(&mut args)?.parse()?].swim.members() {
                    output += &format!("{} generation {}\n", describe_member(&member), member.generation);
                }
            }
            "trace" => net.trace = next(&mut args)? == "on",
            "say" => {
                let mut id = |name| Ok::<u128, Box<dyn Error>>(keyed(&mut args, name)?.ok_or("from, to, about")?);
                let (from, to, about) = (id("from")?, id("to")?, id("about")?);
                let generation = Generation(keyed(&mut args, "generation")?.unwrap_or(1));
                let incarnation = Incarnation(keyed(&mut args, "incarnation")?.unwrap_or(0));
                let rank = match args.take_key("state").ok_or("which state?")? {
                    "alive" => MemberState::Alive,
                    "suspect" => MemberState::Suspect,
                    "dead" => MemberState::Dead,
                    "left" => MemberState::Left,
                    other => return Err(format!("no state {other}").into()),
                };
                let age = args.take_key("age").map(time).transpose()?.unwrap_or_default();
                let record = net.member(from, about).filter(|_| rank == MemberState::Alive).map(|member| {
                    let (name, address, meta) = (member.name, member.address, member.meta);
                    slimcluster_core::swim::Record { generation, version: 0, name, address, meta, restarting: None }
                });
                let key = Key::alive(generation, incarnation).seen_as(rank);
                let updates = vec![Update { id: NodeId(about), key, record, age }];
                let message = Message { body: Body::Ack { seq: Seq(0) }, updates };
                let (sender, generation) = (NodeId(from), net.nodes[&from].swim.generation());
                net.input(to, Input::Message { from: address(from), sender, generation, message });
            }
            other => return Err(format!("no command {other}").into()),
        }
        args.reject_next()?;
        for line in net.lines.drain(..) {
            output += &line;
            output += "\n";
        }
        Ok(output)
    }
}

fn next(args: &mut goldenscript::ArgumentConsumer<'_>) -> Result<String, Box<dyn Error>> {
    Ok(args.next_pos().ok_or("an argument is missing")?.to_string())
}

fn keyed<T: FromStr>(args: &mut goldenscript::ArgumentConsumer<'_>, key: &str) -> Result<Option<T>, Box<dyn Error>> {
    args.take_key(key).map(|text| text.parse().map_err(|_| format!("bad {key}: {text}").into())).transpose()
}

fn ids(text: &str) -> Result<Vec<u128>, Box<dyn Error>> {
    text.split(',').filter(|id| !id.is_empty()).map(|id| Ok(id.parse()?)).collect()
}

fn time(text: &str) -> Result<Duration, Box<dyn Error>> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).ok_or("a time without a unit")?);
    let number: u64 = number.parse()?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err(format!("no unit {unit}").into()),
    }
}
