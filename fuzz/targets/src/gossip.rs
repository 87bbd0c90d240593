//! What arrives by UDP: SWIM datagrams and announcements. Anyone can send them, so they may cost little.

use std::time::Duration;

use bytes::Bytes;
use slimcluster_core::swim::{HTTP_BYTES_MAX, Message, NAME_BYTES_MAX, RESTARTING_MAX, is_usable};
use slimcluster_core::types::COUNTER_MAX;
use slimcluster_core::wire::{
    Codec, cluster_tag, decode_announcement, decode_datagram, encode_announcement, encode_datagram, sizer,
};

use crate::{allocations, seal};

/// The cluster of the golden vectors.
pub const CLUSTER_ID: &str = "sample";
/// No unauthenticated input may make a node hold more than this.
pub const UNAUTHENTICATED_BYTES_MAX: usize = 64 << 10;
/// The longest datagram that a node looks at.
const DATAGRAM_BYTES_MAX: usize = 1_500;
/// Ages beyond this are not told apart.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A SWIM datagram, in either encoding.
pub fn datagram(bytes: &[u8]) {
    judge_datagram(bytes);
    if let Some(sealed) = seal::datagram(bytes, cluster_tag(CLUSTER_ID)) {
        judge_datagram(&sealed);
    }
}

/// An announcement of the multicast group.
pub fn announcement(bytes: &[u8]) {
    judge_announcement(bytes);
    if let Some(sealed) = seal::datagram(bytes, cluster_tag(CLUSTER_ID)) {
        judge_announcement(&sealed);
    }
}

fn judge_datagram(bytes: &[u8]) {
    let tag = cluster_tag(CLUSTER_ID);
    let received = Bytes::copy_from_slice(bytes);
    let decode = || decode_datagram(tag, &received);
    let Ok((envelope, message)) = allocations::within(UNAUTHENTICATED_BYTES_MAX, "decoding a datagram", decode) else {
        return;
    };
    assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
    assert!(envelope.generation.0 <= COUNTER_MAX);
    check_bounds(&message);
    for codec in [Codec::Protobuf, Codec::Json] {
        let encoded = encode_datagram(codec, &envelope, &message);
        let sizer = sizer(codec);
        let announced = (sizer.head)(&message.body) + message.updates.iter().map(sizer.update).sum::<usize>();
        assert!(encoded.len() <= announced, "{} bytes where {announced} were measured: {message:?}", encoded.len());
        // JSON is longer: what came in Protobuf may not fit any more.
        if encoded.len() <= DATAGRAM_BYTES_MAX {
            assert_eq!(decode_datagram(tag, &encoded), Ok((envelope, message.clone())), "{codec:?}");
        }
    }
}

fn check_bounds(message: &Message) {
    for update in &message.updates {
        let key = update.key;
        assert!(
            key.generation.0 <= COUNTER_MAX && key.incarnation.0 <= COUNTER_MAX && update.age <= AGE_MAX,
            "{key:?}"
        );
        let Some(record) = &update.record else { continue };
        assert!(record.generation <= key.generation && record.version <= COUNTER_MAX, "{record:?}");
        assert!(record.name.len() <= NAME_BYTES_MAX && is_usable(record.address), "{record:?}");
        assert!(record.meta.http.as_ref().is_none_or(|http| http.len() <= HTTP_BYTES_MAX), "{record:?}");
        assert!(record.restarting.is_none_or(|time| time <= RESTARTING_MAX), "{record:?}");
    }
}

fn judge_announcement(bytes: &[u8]) {
    let tag = cluster_tag(CLUSTER_ID);
    let received = Bytes::copy_from_slice(bytes);
    // It is read in place.
    let Ok(announcement) = allocations::within(0, "decoding an announcement", || decode_announcement(tag, &received))
    else {
        return;
    };
    assert_ne!(announcement.port, 0);
    let encoded = encode_announcement(tag, slimcluster_core::Generation(1), &announcement);
    assert_eq!(decode_announcement(tag, &encoded), Ok(announcement));
}
