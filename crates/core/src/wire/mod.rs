//! Bytes: framing, versioning and the two encodings of what nodes say to each other.
//!
//! Envelopes and framing are written by hand: lengths are checked before anything is reserved, and a body is decoded only after the
//! cluster, the length and the checksum held. Bodies are mirror structs, Protobuf or JSON by a byte in the envelope ([`Codec`]); the
//! protocol's own types know no encoding. Every encoding is pinned by golden vectors in `testvectors/`, rewritten by
//! `UPDATE_GOLDEN=1 cargo test -p slimcluster-core`.

mod bootstrap;
mod codec;
mod datagram;
mod frame;
mod hex;
mod lists;
mod peer;
mod stream;
mod swim;

pub use codec::Codec;
pub use datagram::{
    Announcement, Drop, Envelope, cluster_tag, decode_announcement, decode_datagram, encode_announcement,
    encode_datagram, sizer,
};
pub use frame::{Assembled, Assembler, FRAME_BYTES_MAX, FrameError, HANDSHAKE_BYTES_MAX, MESSAGE_BYTES_MAX};
pub use peer::{decode_peer_message, encode_peer_message};
pub use stream::{LENGTH_BYTES, put_frame, take_frame};
