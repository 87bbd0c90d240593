//! Whatever members say and whenever they say it: the invariants hold, datagrams fit, memory and answers are bounded, and an owner has the last word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use slimcluster_core::random::Random;
use slimcluster_core::swim::{
    Body, HTTP_BYTES_MAX, Incarnation, Input, Key, Local, MemberState, Message, Meta, NAME_BYTES_MAX, Options, Output,
    Record, Seq, Swim, Update,
};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::wire::{Codec, Envelope, cluster_tag, encode_datagram, sizer};
use slimcluster_core::{Generation, Instant, NodeId};

const OWN: NodeId = NodeId(5);

fn swim(codec: Codec, options: Options) -> Swim {
    let meta = Meta { http: Some("h".repeat(HTTP_BYTES_MAX)), consensus: true };
    let name = "n".repeat(NAME_BYTES_MAX);
    let local = Local { id: OWN, name, address: address(5), generation: Generation(2), meta };
    Swim::new(options, local, sizer(codec), 1, Instant::ZERO)
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, (id >> 8) as u8, id as u8], 60_001))
}

fn drain(swim: &mut Swim, codec: Codec) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(output) = swim.poll_output() {
        if let Output::Send { message, .. } = &output {
            let envelope = Envelope { cluster_tag: cluster_tag("x"), sender: OWN, generation: swim.generation() };
            let bytes = encode_datagram(codec, &envelope, message);
            assert!(bytes.len() <= 1_232, "{} bytes: {message:?}", bytes.len());
        }
        outputs.push(output);
    }
    outputs
}

/// Few ids and numbers, so that they meet; now and then one at the bound.
fn counter(rng: &mut Random) -> u64 {
    if rng.chance(1, 20) { COUNTER_MAX - rng.below(2) } else { rng.below(4) }
}

fn update(rng: &mut Random) -> Update {
    let ranks = [MemberState::Alive, MemberState::Suspect, MemberState::Dead, MemberState::Left];
    let generation = Generation(counter(rng));
    let rank = ranks[rng.below(4) as usize];
    let id = rng.below(12);
    let record = rng.chance(2, 3).then(|| Record {
        generation: if rng.chance(1, 2) { generation } else { generation.prev() },
        version: counter(rng),
        name: "m".repeat(rng.below(NAME_BYTES_MAX as u64 + 1) as usize),
        address: address(rng.below(14)),
        meta: Meta { http: rng.chance(1, 2).then(|| "h".repeat(HTTP_BYTES_MAX)), consensus: rng.chance(1, 2) },
        restarting: rng.chance(1, 10).then(|| Duration::from_secs(rng.below(600))),
    });
    let age = Duration::from_secs(rng.below(90_000));
    Update { id: NodeId(id.into()), key: Key::alive(generation, Incarnation(counter(rng))).seen_as(rank), record, age }
}

fn input(rng: &mut Random, asked: &[Seq]) -> Input {
    let node = |rng: &mut Random| NodeId(rng.below(12).into());
    match rng.below(40) {
        0 => Input::Discovered((0..rng.below(100)).map(address).collect()),
        1 => Input::Announced(address(rng.below(14))),
        2 => Input::Lateness(Duration::from_millis(rng.below(20_000))),
        3 => Input::SetMeta(Meta { http: None, consensus: rng.chance(1, 2) }),
        4 => Input::Restarting { for_: Duration::from_secs(rng.below(10_000)) },
        5 if rng.chance(1, 10) => Input::Leave,
        5..20 => Input::Timeout,
        _ => {
            let known = rng.pick(asked).copied().filter(|_| rng.chance(3, 4));
            let seq = known.unwrap_or(Seq(rng.next()));
            let some = |rng: &mut Random| rng.chance(1, 2).then_some(NodeId(rng.below(12).into()));
            let body = match rng.below(6) {
                0 => Body::Ping { seq, target: some(rng).map(|id| (id, Generation(counter(rng)))) },
                1 => Body::Ack { seq },
                2 => Body::PingReq { seq, target: node(rng) },
                3 => Body::Gone { seq },
                4 => Body::SyncRequest { seq, after: some(rng) },
                _ => Body::SyncResponse { seq, next: some(rng), observed: address(rng.below(6)) },
            };
            let updates = (0..rng.below(6)).map(|_| update(rng)).collect();
            let (sender, generation) = (node(rng), Generation(counter(rng)));
            Input::Message { from: address(rng.below(14)), sender, generation, message: Message { body, updates } }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_history_breaks_an_invariant(seed in any::<u64>(), is_json in any::<bool>()) {
        let codec = if is_json { Codec::Json } else { Codec::Protobuf };
        let mut rng = Random::new(seed);
        let members_max = if rng.chance(1, 2) { 6 } else { 100 };
        let mut swim = swim(codec, Options { members_max, ..Options::lan() });
        let mut now = Instant::ZERO;
        let mut asked = Vec::new();
        let mut own = Key::alive(Generation(0), Incarnation(0));
        let mut claims = Claims::default();
        for _ in 0..400 {
            let input = input(&mut rng, &asked);
            claims.heard(&input);
            if let Some(due) = swim.poll_timeout().filter(|_| matches!(input, Input::Timeout)) {
                now = now.max(due) + Duration::from_millis(rng.below(3) * rng.below(400));
            } else {
                now += Duration::from_millis(rng.below(50));
            }
            let told = format!("{input:?}");
            swim.handle(now, input);
            prop_assert_eq!(swim.check(), Ok(()), "{}", told);
            let outputs = drain(&mut swim, codec);
            prop_assert!(outputs.len() < 100, "{} outputs for {told}", outputs.len());
            for output in &outputs {
                let Output::Send { message, .. } = output else { continue };
                // In a full table a tombstone makes room for a member.
                if members_max > 12 {
                    prop_assert_eq!(claims.said(message), Ok(()), "{}", told);
                }
                asked.push(match message.body {
                    Body::Ping { seq, .. } | Body::PingReq { seq, .. } | Body::SyncRequest { seq, .. } => seq,
                    _ => continue,
                });
                // Only ever forward: nothing that is said about a node makes it go back.
                for update in message.updates.iter().filter(|update| update.id == OWN) {
                    prop_assert!(update.key >= own);
                    own = own.max(update.key);
                }
            }
            let tail = asked.len().saturating_sub(8);
            asked.drain(..tail);
            prop_assert!(swim.members().filter(|member| member.id == OWN).count() == 1);
            prop_assert!(swim.members().map(|member| member.id).is_sorted());
        }
    }
}

/// What the node has said about the others.
#[derive(Default)]
struct Claims {
    said: BTreeMap<NodeId, Key>,
    /// Whose tombstone may have expired meanwhile.
    expiring: BTreeSet<NodeId>,
}

impl Claims {
    fn heard(&mut self, input: &Input) {
        if let Input::Message { message, .. } = input {
            let is_old = |update: &&Update| update.age > Duration::from_secs(80_000);
            self.expiring.extend(message.updates.iter().filter(is_old).map(|update| update.id));
        }
    }

    /// What is said about another never goes back either, but where the node that it is about is asked to settle a disagreement.
    fn said(&mut self, message: &Message) -> Result<(), String> {
        let asked = if let Body::Ping { target: Some((id, _)), .. } = message.body { id } else { OWN };
        let excused = |id: NodeId| id == OWN || id == asked || self.expiring.contains(&id);
        for Update { id, key, .. } in message.updates.iter().filter(|update| !excused(update.id)) {
            let before = self.said.entry(*id).or_insert(*key);
            if key < before {
                return Err(format!("{key:?} of {id} after {before:?}, in {message:?}"));
            }
            *before = *key;
        }
        Ok(())
    }
}

fn message(body: Body, updates: Vec<Update>) -> Message {
    Message { body, updates }
}

fn say(swim: &mut Swim, now: Instant, sender: u128, body: Body, updates: Vec<Update>) {
    let from = address(sender as u64);
    swim.handle(
        now,
        Input::Message { from, sender: NodeId(sender), generation: Generation(1), message: message(body, updates) },
    );
}

#[test]
fn an_accusation_at_the_bound_is_refuted_by_a_new_generation() {
    let mut swim = swim(Codec::Protobuf, Options::lan());
    let dead = Key::alive(Generation(2), Incarnation(COUNTER_MAX)).seen_as(MemberState::Dead);
    let accusation = Update { id: OWN, key: dead, record: None, age: Duration::ZERO };
    say(&mut swim, Instant::ZERO, 1, Body::Ack { seq: Seq(1) }, vec![accusation]);
    assert_eq!(swim.generation(), Generation(3));
    // Beyond the last generation there is nothing: it stays, and does not wrap.
    let last = Key::alive(Generation(COUNTER_MAX), Incarnation(COUNTER_MAX)).seen_as(MemberState::Dead);
    for _ in 0..3 {
        let accusation = Update { id: OWN, key: last, record: None, age: Duration::ZERO };
        say(&mut swim, Instant::ZERO, 1, Body::Ack { seq: Seq(1) }, vec![accusation]);
    }
    assert_eq!(swim.generation(), Generation(3));
    swim.check().unwrap();
}

#[test]
fn a_flood_is_refused_and_does_not_silence_others() {
    let mut swim = swim(Codec::Protobuf, Options::lan());
    for id in [1, 2] {
        let record = Record {
            generation: Generation(1),
            version: 0,
            name: format!("n{id}"),
            address: address(id),
            meta: Meta::default(),
            restarting: None,
        };
        let key = Key::alive(Generation(1), Incarnation(0));
        let own = Update { id: NodeId(id.into()), key, record: Some(record), age: Duration::ZERO };
        say(&mut swim, Instant::ZERO, id.into(), Body::Ack { seq: Seq(0) }, vec![own]);
    }
    drain(&mut swim, Codec::Protobuf);
    for seq in 0..10_000 {
        say(&mut swim, Instant::ZERO, 1, Body::Ping { seq: Seq(seq), target: None }, Vec::new());
    }
    assert!(drain(&mut swim, Codec::Protobuf).len() < 600);
    assert!(swim.refused() > 9_000);
    say(&mut swim, Instant::ZERO, 2, Body::Ping { seq: Seq(1), target: None }, Vec::new());
    assert_eq!(drain(&mut swim, Codec::Protobuf).len(), 1);
    // Strangers share one allowance.
    for sender in 100..10_000 {
        say(&mut swim, Instant::ZERO, sender, Body::Ping { seq: Seq(1), target: None }, Vec::new());
    }
    assert!(drain(&mut swim, Codec::Protobuf).len() < 600);
    swim.check().unwrap();
}

#[test]
fn what_this_node_said_itself_is_no_news() {
    let mut swim = swim(Codec::Protobuf, Options::lan());
    drain(&mut swim, Codec::Protobuf);
    let ping = message(Body::Ping { seq: Seq(1), target: None }, Vec::new());
    let input = Input::Message { from: address(5), sender: OWN, generation: Generation(2), message: ping };
    swim.handle(Instant::ZERO, input);
    assert_eq!((drain(&mut swim, Codec::Protobuf), swim.refused()), (vec![], 1));
}

#[test]
fn an_answer_says_what_the_whole_datagram_has_told() {
    let mut swim = swim(Codec::Protobuf, Options::lan());
    let about = |key| Update { id: NodeId(9), key, record: None, age: Duration::ZERO };
    let key = Key::alive(Generation(2), Incarnation(0));
    let (suspect, dead) = (key.seen_as(MemberState::Suspect), key.seen_as(MemberState::Dead));
    let stale = Key::alive(Generation(1), Incarnation(0)).seen_as(MemberState::Dead);
    say(&mut swim, Instant::ZERO, 1, Body::Ack { seq: Seq(0) }, vec![about(suspect)]);
    drain(&mut swim, Codec::Protobuf);
    // The first of these is refuted by what is held, and that is out of date by the second.
    say(&mut swim, Instant::ZERO, 1, Body::Ping { seq: Seq(1), target: None }, vec![about(stale), about(dead)]);
    let outputs = drain(&mut swim, Codec::Protobuf);
    let answer = outputs.iter().find_map(|output| match output {
        Output::Send { message: Message { body: Body::Ack { .. }, updates }, .. } => Some(updates),
        _ => None,
    });
    let said = answer.unwrap().iter().filter(|update| update.id == NodeId(9));
    assert_eq!(said.map(|update| update.key).collect::<Vec<_>>(), [dead]);
    swim.check().unwrap();
}
