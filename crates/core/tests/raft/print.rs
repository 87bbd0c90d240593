//! Outputs as lines of a script.

use slimcluster_core::raft::{Configuration, Message, Output, Standing};
use slimcluster_core::{HardState, Run, RunKind};

pub fn output(output: &Output) -> String {
    match output {
        Output::Send { to, message } => format!("-> {to:?} {}", self::message(message)),
        Output::Write { seq, hard_state, runs } => {
            let hard_state =
                hard_state.map_or(String::new(), |hard_state| format!(" {}", self::hard_state(hard_state)));
            format!("write #{seq}{hard_state}{}", self::runs(runs))
        }
        Output::Fetch { first, last, .. } => format!("fetch {first}..{last}"),
        Output::Apply(runs) => format!("apply{}", self::runs(runs)),
        Output::ReadReady { id, index } => format!("read {} ready at {index}", id.0),
        Output::ReadFailed { id } => format!("read {} failed", id.0),
        Output::LeaderChanged(Some((leader, term))) => format!("leader is {leader:?} in term {term}"),
        Output::LeaderChanged(None) => "leader unknown".to_owned(),
        Output::Fatal(fatal) => format!("fatal: {fatal}"),
    }
}

pub fn message(message: &Message) -> String {
    let answer = |granted: bool| if granted { "granted" } else { "refused" };
    match message {
        Message::PreVote(m) => format!("PreVote term={} last={}", m.term, m.last),
        Message::PreVoteResponse(m) => format!("PreVoteResponse term={} {}", m.term, answer(m.granted)),
        Message::RequestVote(m) => {
            let released = if m.released { " released" } else { "" };
            format!("RequestVote term={} last={}{released}", m.term, m.last)
        }
        Message::RequestVoteResponse(m) => format!("RequestVoteResponse term={} {}", m.term, answer(m.granted)),
        Message::AppendEntries(m) => format!(
            "AppendEntries term={} prev={} commit={} round={}{}",
            m.term,
            m.prev,
            m.leader_commit,
            m.round,
            runs(&m.runs)
        ),
        Message::AppendEntriesResponse(m) => {
            let conflict = m.conflict.as_ref();
            let conflict = conflict.map_or(String::new(), |c| format!(" rejected={} hint={}", c.rejected, c.hint));
            format!("AppendEntriesResponse term={} round={} match={}{conflict}", m.term, m.round, m.match_index)
        }
        Message::Resign(m) => format!("Resign term={}{}", m.term, if m.successor { " successor" } else { "" }),
    }
}

pub fn runs(runs: &[Run]) -> String {
    runs.iter().map(|run| format!(" {}", self::run(run))).collect()
}

fn run(run: &Run) -> String {
    let place = if run.count() == 1 {
        format!("{}@{}", run.first(), run.term())
    } else {
        format!("{}..{}@{}", run.first(), run.last(), run.term())
    };
    match run.kind() {
        RunKind::Command => {
            let payloads: Vec<String> =
                run.entries().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()).collect();
            let payloads = payloads.join(" ");
            let shown: String = payloads.chars().take(24).collect();
            format!("{place}({shown}{})", if shown.len() < payloads.len() { ".." } else { "" })
        }
        RunKind::Configuration => {
            let configuration = Configuration::decode(&run.payload()).unwrap();
            let nodes = configuration.nodes().iter().map(|node| {
                let mark = match node.standing {
                    Standing::Voter => "",
                    Standing::Learner => "learner",
                    Standing::Incoming => "incoming",
                    Standing::Outgoing => "outgoing",
                    Standing::Demoting => "demoting",
                };
                format!("{:?}{mark}", node.id)
            });
            format!("{place}(configuration {})", nodes.collect::<Vec<_>>().join(" "))
        }
        kind => format!("{place}({kind:?})"),
    }
}

fn hard_state(hard_state: HardState) -> String {
    match hard_state.vote {
        Some(vote) => format!("term={} vote={vote:?}", hard_state.term),
        None => format!("term={}", hard_state.term),
    }
}
