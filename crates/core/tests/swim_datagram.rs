//! The datagram: its bytes are pinned, it fits, and whatever else arrives is dropped for a reason.
//!
//! `UPDATE_GOLDEN=1 cargo test -p slimcluster-core` rewrites the pinned bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use slimcluster_core::swim::{
    Body, HTTP_BYTES_MAX, Incarnation, Key, MemberState, Message, Meta, NAME_BYTES_MAX, RESTARTING_MAX, Record, Seq,
    Update,
};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::wire::{
    Announcement, Codec, Drop, Envelope, cluster_tag, decode_announcement, decode_datagram, encode_announcement,
    encode_datagram, sizer,
};
use slimcluster_core::{Generation, NodeId};

const CODECS: [Codec; 2] = [Codec::Protobuf, Codec::Json];

fn envelope() -> Envelope {
    Envelope { cluster_tag: cluster_tag("sample"), sender: NodeId(0xa1 << 120 | 7), generation: Generation(3) }
}

fn record(address: &str) -> Record {
    Record {
        generation: Generation(3),
        version: 2,
        name: "pod-1".into(),
        address: address.parse().unwrap(),
        meta: Meta { http: Some("10.1.2.3:8080".into()), consensus: true },
        restarting: None,
    }
}

fn update(id: u128, rank: MemberState, record: Option<Record>) -> Update {
    let key = Key::alive(Generation(3), Incarnation(5)).seen_as(rank);
    let age = if rank >= MemberState::Dead { Duration::from_millis(61_500) } else { Duration::ZERO };
    Update { id: NodeId(id), key, record, age }
}

fn samples() -> Vec<(&'static str, Message)> {
    let target = NodeId(0xb2 << 120 | 9);
    let seq = Seq(0x1122_3344_5566_7788);
    let restarting = Record { restarting: Some(Duration::from_secs(30)), ..record("[2001:db8::1]:60001") };
    let updates = vec![
        update(1, MemberState::Alive, Some(record("10.1.2.3:60001"))),
        update(2, MemberState::Suspect, None),
        update(3, MemberState::Dead, None),
        update(4, MemberState::Left, None),
        update(5, MemberState::Alive, Some(restarting)),
    ];
    let bare = |body| Message { body, updates: Vec::new() };
    vec![
        ("ping", bare(Body::Ping { seq, target: Some((target, Generation(4))) })),
        ("ping whoever is there", bare(Body::Ping { seq, target: None })),
        ("ack", bare(Body::Ack { seq })),
        ("ping request", bare(Body::PingReq { seq, target })),
        ("gone", bare(Body::Gone { seq })),
        ("sync request", bare(Body::SyncRequest { seq, after: None })),
        ("sync request behind", bare(Body::SyncRequest { seq, after: Some(target) })),
        (
            "sync response",
            Message {
                body: Body::SyncResponse { seq, next: Some(target), observed: "10.1.2.3:4567".parse().unwrap() },
                updates,
            },
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_are_those_of_the_golden_vectors() {
    let mut text = String::new();
    for (name, message) in samples() {
        for codec in CODECS {
            let bytes = encode_datagram(codec, &envelope(), &message);
            text += &format!("{name} | {codec:?} | {}\n", hex(&bytes));
        }
    }
    let announcement = Announcement { node: NodeId(7), port: 60_001 };
    let bytes = encode_announcement(cluster_tag("sample"), Generation(3), &announcement);
    text += &format!("announcement | {}\n", hex(&bytes));

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testvectors/datagram.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    for (ours, pinned) in text.lines().zip(golden.lines()) {
        assert_eq!(
            ours, pinned,
            "an encoding changed; if that is meant: UPDATE_GOLDEN=1 cargo test -p slimcluster-core"
        );
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn every_message_survives_both_encodings() {
    for (name, message) in samples() {
        for codec in CODECS {
            let bytes = encode_datagram(codec, &envelope(), &message);
            assert_eq!(decode_datagram(cluster_tag("sample"), &bytes), Ok((envelope(), message.clone())), "{name}");
            let size = (sizer(codec).head)(&message.body)
                + message.updates.iter().map(|update| (sizer(codec).update)(update)).sum::<usize>();
            assert!((bytes.len()..bytes.len() + 16).contains(&size), "{name}: {size} for {} bytes", bytes.len());
        }
    }
}

#[test]
fn json_reads_well() {
    let (_, message) = samples().remove(7);
    let bytes = encode_datagram(Codec::Json, &envelope(), &message);
    let text = std::str::from_utf8(&bytes[44..]).unwrap();
    let expected = r#"{"sync_response":{"seq":1234605616436508552,"next":"b2000000000000000000000000000009","observed":"10.1.2.3:4567"},"#;
    assert!(text.starts_with(expected), "{text}");
    let member = r#"{"id":"00000000000000000000000000000001","generation":3,"incarnation":5,"state":"alive","record":{"generation":3,"version":2,"name":"pod-1","address":"10.1.2.3:60001","http":"10.1.2.3:8080","consensus":true}}"#;
    assert!(text.contains(member), "{text}");
}

#[test]
fn the_largest_member_fits_three_times_over_small_updates() {
    let largest = Record {
        generation: Generation(COUNTER_MAX),
        version: COUNTER_MAX,
        name: "n".repeat(NAME_BYTES_MAX),
        address: "[1111:2222:3333:4444:5555:6666:7777:8888]:60001".parse().unwrap(),
        meta: Meta { http: Some("h".repeat(HTTP_BYTES_MAX)), consensus: true },
        restarting: Some(RESTARTING_MAX),
    };
    let key = Key::alive(Generation(COUNTER_MAX), Incarnation(COUNTER_MAX));
    let full = Update { id: NodeId(u128::MAX), key, record: Some(largest), age: Duration::ZERO };
    let small = Update {
        key: key.seen_as(MemberState::Suspect),
        record: None,
        age: Duration::from_secs(30 * 24 * 3_600),
        ..full.clone()
    };
    let observed: SocketAddr = "[1111:2222:3333:4444:5555:6666:7777:8888]:60001".parse().unwrap();
    let body = Body::SyncResponse { seq: Seq(u64::MAX), next: Some(NodeId(u128::MAX)), observed };
    for codec in CODECS {
        // The own record, what is held about the receiver, and one accusation: these must always fit.
        let message = Message { body: body.clone(), updates: vec![full.clone(), small.clone(), small.clone()] };
        let bytes = encode_datagram(codec, &envelope(), &message);
        assert!(bytes.len() <= 1_232, "{codec:?}: {}", bytes.len());
        assert_eq!(decode_datagram(cluster_tag("sample"), &bytes), Ok((envelope(), message)));
    }
}

#[test]
fn what_is_not_ours_is_dropped_for_its_reason() {
    let tag = cluster_tag("sample");
    let good = encode_datagram(Codec::Protobuf, &envelope(), &samples()[0].1);
    let dropped = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        decode_datagram(tag, &Bytes::from(bytes)).unwrap_err()
    };
    assert_eq!(dropped(&|bytes| bytes.clear()), Drop::TooShort);
    assert_eq!(dropped(&|bytes| bytes.truncate(43)), Drop::TooShort);
    assert_eq!(dropped(&|bytes| bytes.resize(65_507, 0)), Drop::TooLong);
    assert_eq!(dropped(&|bytes| bytes[0] = b'X'), Drop::Magic);
    assert_eq!(dropped(&|bytes| bytes[4] = 255), Drop::Version);
    assert_eq!(dropped(&|bytes| bytes[6] = 1), Drop::KeyId);
    assert_eq!(dropped(&|bytes| bytes[8] ^= 1), Drop::OtherCluster);
    assert_eq!(dropped(&|bytes| bytes.truncate(50)), Drop::Checksum);
    for at in (5..6).chain(7..8).chain(16..good.len()) {
        assert_eq!(dropped(&|bytes| bytes[at] ^= 0x40), Drop::Checksum, "byte {at}");
    }
    let announcement = encode_announcement(tag, Generation(1), &Announcement { node: NodeId(1), port: 9 });
    assert_eq!(decode_announcement(tag, &announcement), Ok(Announcement { node: NodeId(1), port: 9 }));
    assert_eq!(decode_datagram(tag, &announcement), Err(Drop::Kind));
    assert_eq!(decode_announcement(tag, &good), Err(Drop::Kind));
    assert_eq!(decode_announcement(cluster_tag("other"), &announcement), Err(Drop::OtherCluster));
    let portless = encode_announcement(tag, Generation(1), &Announcement { node: NodeId(1), port: 0 });
    assert_eq!(decode_announcement(tag, &portless), Err(Drop::Malformed));
}

#[test]
fn values_out_of_bounds_are_malformed() {
    let tag = cluster_tag("sample");
    let verdict = |update: Update, generation: u64| {
        let message = Message { body: Body::Ack { seq: Seq(1) }, updates: vec![update] };
        let envelope = Envelope { generation: Generation(generation), ..envelope() };
        let [a, b] = CODECS.map(|codec| decode_datagram(tag, &encode_datagram(codec, &envelope, &message)).err());
        assert_eq!(a, b);
        a
    };
    let good = update(1, MemberState::Alive, Some(record("10.0.0.1:1")));
    let with_record = |change: &dyn Fn(&mut Record)| {
        let mut update = good.clone();
        change(update.record.as_mut().unwrap());
        verdict(update, 3)
    };
    assert_eq!(verdict(good.clone(), 3), None);
    assert_eq!(verdict(good.clone(), COUNTER_MAX), None);
    assert_eq!(verdict(good.clone(), COUNTER_MAX + 1), Some(Drop::Malformed));
    for incarnation in [COUNTER_MAX + 1, u64::MAX] {
        let key = Key::alive(Generation(3), Incarnation(incarnation));
        assert_eq!(verdict(Update { key, ..good.clone() }, 3), Some(Drop::Malformed));
        let key = Key::alive(Generation(incarnation), Incarnation(0));
        assert_eq!(verdict(Update { key, ..good.clone() }, 3), Some(Drop::Malformed));
    }
    let unusable =
        ["0.0.0.0:1", "10.0.0.1:0", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1", "[::ffff:0.0.0.0]:1"];
    for address in unusable {
        assert_eq!(
            with_record(&|record| record.address = address.parse().unwrap()),
            Some(Drop::Malformed),
            "{address}"
        );
    }
    assert_eq!(with_record(&|record| record.version = COUNTER_MAX + 1), Some(Drop::Malformed));
    assert_eq!(with_record(&|record| record.generation = Generation(4)), Some(Drop::Malformed));
    assert_eq!(with_record(&|record| record.name = "n".repeat(NAME_BYTES_MAX + 1)), Some(Drop::Malformed));
    assert_eq!(with_record(&|record| record.name = "a\nb".into()), Some(Drop::Malformed));
    assert_eq!(with_record(&|record| record.meta.http = Some("a\"b".into())), Some(Drop::Malformed));
    let too_long = Some(RESTARTING_MAX + Duration::from_millis(1));
    assert_eq!(with_record(&|record| record.restarting = too_long), Some(Drop::Malformed));
}

/// An otherwise valid datagram with this body.
fn with_body(codec: Codec, body: &[u8]) -> Bytes {
    let mut bytes = encode_datagram(codec, &envelope(), &samples()[2].1)[..40].to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), body);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(body);
    bytes.into()
}

#[test]
fn a_message_or_field_of_a_later_version_is_told_from_garbage() {
    let tag = cluster_tag("sample");
    let decode = |codec, body: &[u8]| decode_datagram(tag, &with_body(codec, body)).map(|(_, message)| message.body);
    assert_eq!(decode(Codec::Json, br#"{"query":{"seq":1}}"#), Err(Drop::UnknownMessage));
    assert_eq!(decode(Codec::Protobuf, &[0x3a, 0x00]), Err(Drop::UnknownMessage));
    let ack = Ok(Body::Ack { seq: Seq(1) });
    assert_eq!(decode(Codec::Json, br#"{"ack":{"seq":1,"rtt":5},"hint":7}"#), ack);
    assert_eq!(decode(Codec::Protobuf, &[0x12, 11, 0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 5, 0x60, 7]), ack);
    assert_eq!(decode(Codec::Json, br#"{"ack":{"seq":1},"gone":{"seq":1}}"#), Err(Drop::Malformed));
    assert_eq!(decode(Codec::Json, br#"{"ping_req":{"seq":1}}"#), Err(Drop::Malformed));
    assert_eq!(decode(Codec::Json, b"\xff"), Err(Drop::Malformed));
    assert_eq!(decode(Codec::Json, "[".repeat(1_400).as_bytes()), Err(Drop::Malformed));
    assert_eq!(decode(Codec::Protobuf, b"\xff"), Err(Drop::Malformed));
}

proptest! {
    #[test]
    fn no_body_hurts(body in proptest::collection::vec(any::<u8>(), 0..200), is_json in any::<bool>()) {
        let codec = if is_json { Codec::Json } else { Codec::Protobuf };
        let _ = decode_datagram(cluster_tag("sample"), &with_body(codec, &body));
    }

    #[test]
    fn no_change_to_a_good_body_hurts(at in 0..400_usize, to in any::<u8>(), is_json in any::<bool>()) {
        let codec = if is_json { Codec::Json } else { Codec::Protobuf };
        let mut body = encode_datagram(codec, &envelope(), &samples()[7].1)[44..].to_vec();
        let at = at % body.len();
        body[at] = to;
        let _ = decode_datagram(cluster_tag("sample"), &with_body(codec, &body));
    }
}
