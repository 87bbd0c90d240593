//! `counter demo`: a cluster of three processes, its leader killed in mid-traffic, and the proof that nothing was lost.
//!
//! Everything goes through what anyone could use: the command line, HTTP, and signals.

mod http;
mod load;
mod nodes;

use std::fmt::Arguments;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use http::{Client, Failure};
use load::{Load, Tally};
use nodes::{Node, Nodes};

/// How long the clients count before the leader dies, and again after a new one has been found.
const TRAFFIC: Duration = Duration::from_secs(2);
/// No step takes longer than this on a machine that can be worked with.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a node.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the demo stops with: the sentence that says what did not hold.
type Step<T = ()> = Result<T, String>;

/// Runs the demo; exits 0 only if everything held.
pub fn run(keep: bool) -> ExitCode {
    let story = Story { start: Instant::now() };
    let mut nodes = match Nodes::new() {
        Ok(nodes) => nodes,
        Err(reason) => {
            eprintln!("the demo cannot start: {reason}");
            return ExitCode::FAILURE;
        }
    };
    match play(&story, &mut nodes).and_then(|value| end(&story, &mut nodes, keep, value)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            story.tell(format!("FAILED: {reason}"));
            nodes.kill_all();
            eprintln!(
                "{reason}\nwhat the nodes said last, all of it in {}:\n{}",
                nodes.dir().display(),
                nodes.last_words()
            );
            ExitCode::FAILURE
        }
    }
}

/// From nothing to a cluster that has lost and regained its leader; returns the counter's value.
fn play(story: &Story, nodes: &mut Nodes) -> Step<i64> {
    story.tell(format!("starting three nodes; their data is in {}", nodes.dir().display()));
    for node in nodes.iter_mut() {
        node.start()?;
        story.detail(format!("{}: http://{}, process {}", node.name(), node.http(), node.pid()));
    }
    let leader = agreed_leader(nodes, None)?;
    for node in nodes.iter_mut() {
        ready(node)?;
    }
    story.tell(format!("they have formed a cluster and elected {leader}"));

    let follower = nodes.iter().find(|node| node.name() != leader).ok_or("there is no follower")?;
    let (follower, through) = (follower.name().to_owned(), follower.http());
    let load = Load::start(through);
    story.tell(format!("{} clients count up through {follower}, a follower", load::CLIENTS));
    sleep(TRAFFIC);
    let killed = Instant::now();
    nodes.named(&leader)?.kill()?;
    story.tell(format!(
        "{} increments acknowledged; killed the leader {leader} with SIGKILL in mid-traffic",
        load.acknowledged()
    ));

    let new_leader = agreed_leader(nodes, Some(&leader))?;
    story.tell(format!("{new_leader} leads now"));
    let gap = first_write_after(&load, killed)?;
    story.tell(format!("the first increment sent after the kill was acknowledged {:.2} s after it", gap.as_secs_f64()));
    sleep(TRAFFIC);
    let tally = load.stop()?;
    story.tell(format!(
        "the clients stop: {} increments acknowledged, {} certainly not applied, {} of unknown outcome",
        tally.acknowledged.len(),
        tally.refused,
        tally.unknown
    ));
    let value = value_of(through)?;
    nothing_lost(&tally, value)?;
    story.tell(format!("the counter stands at {value}: no acknowledged increment is missing, none was applied twice"));

    let node = nodes.named(&leader)?;
    node.start()?;
    story.tell(format!("started {leader} again with its data, process {}", node.pid()));
    ready(node)?;
    let caught_up = value_of(node.http())?;
    if caught_up != value {
        return Err(format!("{leader} reads {caught_up} after its restart, not {value}"));
    }
    let commit = commit_of(nodes.named(&new_leader)?)?;
    applied_everything(nodes.named(&leader)?, commit)?;
    story.tell(format!("{leader} has caught up and reads {caught_up}"));
    Ok(value)
}

/// Leaves the cluster to the user, or stops it as an operator would.
fn end(story: &Story, nodes: &mut Nodes, keep: bool, value: i64) -> Step {
    if keep {
        story.tell(format!("everything held; the cluster stays, its counter at {value}"));
        say(format_args!("{}", nodes.leave_running()));
        return Ok(());
    }
    nodes.terminate_all(PATIENCE)?;
    story.tell("stopped all three with SIGTERM; everything held".to_owned());
    nodes.remove_data();
    Ok(())
}

/// The counter only goes up, by one, so every acknowledged value is another one, and their number bounds the value.
fn nothing_lost(tally: &Tally, value: i64) -> Step {
    let mut values: Vec<i64> = tally.acknowledged.iter().map(|ack| ack.value).collect();
    let acknowledged = values.len();
    values.sort_unstable();
    values.dedup();
    if values.len() != acknowledged {
        return Err(format!("{} values were acknowledged twice", acknowledged - values.len()));
    }
    if values.last().is_some_and(|last| *last > value) {
        return Err(format!("{:?} was acknowledged, but the counter stands at {value}", values.last()));
    }
    let (least, most) = (acknowledged as u64, acknowledged as u64 + tally.unknown);
    match u64::try_from(value) {
        Ok(value) if value < least => {
            Err(format!("{least} increments were acknowledged, but the counter stands at {value}"))
        }
        Ok(value) if value > most => {
            Err(format!("at most {most} increments took place, but the counter stands at {value}"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(format!("the counter stands at {value}")),
    }
}

/// The leader on which all running nodes agree, other than the one that is `gone`.
fn agreed_leader(nodes: &mut Nodes, gone: Option<&str>) -> Step<String> {
    until("the nodes do not agree on a leader", || {
        let mut leaders = Vec::new();
        for node in nodes.iter_mut().filter(|node| gone != Some(node.name())) {
            node.check_running()?;
            leaders.push(node.view().and_then(|view| Some(view.get("leader")?.as_str()?.to_owned())));
        }
        leaders.dedup();
        Ok(match leaders.pop() {
            Some(Some(leader)) if leaders.is_empty() && gone != Some(leader.as_str()) => Some(leader),
            _ => None,
        })
    })
}

fn ready(node: &mut Node) -> Step {
    let addr = node.http();
    until(&format!("{} does not become ready", node.name()), || {
        node.check_running()?;
        Ok(get(addr, "/readyz").ok().map(|_| ()))
    })
}

fn applied_everything(node: &mut Node, commit: u64) -> Step {
    until(&format!("{} does not catch up", node.name()), || {
        node.check_running()?;
        let applied = node.view().and_then(|view| view.get("applied")?.as_u64());
        Ok((applied >= Some(commit)).then_some(()))
    })
}

fn commit_of(node: &Node) -> Step<u64> {
    let commit = node.view().and_then(|view| view.get("commit")?.as_u64());
    commit.ok_or_else(|| format!("{} does not say what is committed", node.name()))
}

fn first_write_after(load: &Load, moment: Instant) -> Step<Duration> {
    until("no increment is acknowledged after the leader was killed", || Ok(load.first_acknowledged_after(moment)))
}

fn value_of(addr: SocketAddr) -> Step<i64> {
    until("the counter cannot be read", || match get(addr, "/counter") {
        Ok(body) => body.parse().map(Some).map_err(|_| format!("the counter reads {body:?}")),
        Err(_) => Ok(None),
    })
}

/// The body of an answer of 200.
fn get(addr: SocketAddr, path: &str) -> Step<String> {
    let answer = Client::new(addr, PATIENCE).call("GET", path).map_err(|failure: Failure| failure.reason())?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("{path} answers {}", answer.status)) }
}

/// Looks again and again until there is something, at most for [`PATIENCE`].
fn until<T>(complaint: &str, mut look: impl FnMut() -> Step<Option<T>>) -> Step<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{complaint} within {} s", PATIENCE.as_secs()));
        }
        sleep(LOOK_INTERVAL);
    }
}

/// A listener who has gone changes nothing about the result.
fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints what happens when it happens.
struct Story {
    start: Instant,
}

impl Story {
    fn tell(&self, text: String) {
        say(format_args!("{:7.2} s  {text}", self.start.elapsed().as_secs_f64()));
    }

    fn detail(&self, text: String) {
        say(format_args!("{:11}{text}", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::load::Acknowledged;
    use super::*;

    fn tally(values: &[i64], unknown: u64) -> Tally {
        let now = Instant::now();
        let acknowledged = values.iter().map(|value| Acknowledged { sent: now, after: Duration::ZERO, value: *value });
        Tally { acknowledged: acknowledged.collect(), refused: 0, unknown }
    }

    #[test]
    fn what_is_lost_or_doubled_is_noticed() {
        assert!(nothing_lost(&tally(&[1, 2, 3], 0), 3).is_ok());
        assert!(nothing_lost(&tally(&[1, 2, 4], 1), 4).is_ok());
        assert!(nothing_lost(&tally(&[1, 2, 3], 1), 2).is_err(), "lost");
        assert!(nothing_lost(&tally(&[1, 2, 3], 0), 4).is_err(), "applied twice");
        assert!(nothing_lost(&tally(&[1, 2, 2], 1), 3).is_err(), "one value for two");
        assert!(nothing_lost(&tally(&[1, 5], 1), 3).is_err(), "acknowledged, then gone");
    }
}
