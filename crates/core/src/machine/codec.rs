//! How commands become bytes. Each command in the log names its codec, so that a cluster can change it node by node.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The id of [`Postcard`], the default.
pub const CODEC_POSTCARD: u8 = 1;
/// The id of [`Json`].
pub const CODEC_JSON: u8 = 2;
/// Users' own codecs take ids from here on; those below are kept for codecs that come with the library.
pub const CODEC_USER_MIN: u8 = 128;

/// Turns commands of type `C` into bytes and back. Stateless: every node must read what any other wrote, for as long as it stands
/// in a log. Deterministic: equal commands have equal bytes, wherever and however often they are encoded, because replicas are compared by
/// the hash of their bytes.
pub trait Codec<C>: Send + Sync + 'static {
    /// Names the codec in the log; [`CODEC_USER_MIN`] or above for a user's own.
    fn id(&self) -> u8;

    /// The bytes of `command`.
    fn encode(&self, command: &C) -> Result<Bytes, CodecError>;

    /// The command that `bytes` hold. They may be anything that a member of the cluster has written: what is no command, or one that this
    /// build does not know, is an error, never a panic, a guess, or memory that the bytes themselves do not justify.
    fn decode(&self, bytes: &[u8]) -> Result<C, CodecError>;
}

/// Why a value cannot be written, or bytes cannot be read. At `submit`: nothing was proposed. At apply: the machine halts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(pub String);

/// Compact and fast: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<C: Serialize + DeserializeOwned> Codec<C> for Postcard {
    fn id(&self) -> u8 {
        CODEC_POSTCARD
    }

    fn encode(&self, command: &C) -> Result<Bytes, CodecError> {
        postcard::to_stdvec(command).map(Bytes::from).map_err(|error| CodecError(error.to_string()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<C, CodecError> {
        match postcard::take_from_bytes(bytes) {
            Ok((command, [])) => Ok(command),
            Ok((_, rest)) => Err(CodecError(format!("{} bytes are left over", rest.len()))),
            Err(error) => Err(CodecError(error.to_string())),
        }
    }
}

/// Readable in the log and on the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<C: Serialize + DeserializeOwned> Codec<C> for Json {
    fn id(&self) -> u8 {
        CODEC_JSON
    }

    fn encode(&self, command: &C) -> Result<Bytes, CodecError> {
        serde_json::to_vec(command).map(Bytes::from).map_err(|error| CodecError(error.to_string()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<C, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| CodecError(error.to_string()))
    }
}

/// The replicated form of a reply: one byte that names the codec, then the value. JSON where the command was JSON, so that a type
/// that needs a self-describing format works with it throughout; postcard otherwise.
///
/// Replies are part of the replicated state (rule 14), hence a function of the command alone.
pub fn encode_reply<R: Serialize>(command_codec: u8, reply: &R) -> Result<Bytes, CodecError> {
    let codec = if command_codec == CODEC_JSON { CODEC_JSON } else { CODEC_POSTCARD };
    let mut bytes = vec![codec];
    if codec == CODEC_JSON {
        serde_json::to_writer(&mut bytes, reply).map_err(|error| CodecError(error.to_string()))?;
    } else {
        bytes = postcard::to_extend(reply, bytes).map_err(|error| CodecError(error.to_string()))?;
    }
    Ok(bytes.into())
}

/// The reply that [`encode_reply`] wrote.
pub fn decode_reply<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, CodecError> {
    match bytes {
        [CODEC_POSTCARD, rest @ ..] => postcard::from_bytes(rest).map_err(|error| CodecError(error.to_string())),
        [CODEC_JSON, rest @ ..] => serde_json::from_slice(rest).map_err(|error| CodecError(error.to_string())),
        [codec, ..] => Err(CodecError(format!("reply codec {codec} is not known"))),
        [] => Err(CodecError("an empty reply".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_survive_both_codecs() {
        let command = (7u64, String::from("add"));
        for codec in [&Postcard as &dyn Codec<(u64, String)>, &Json] {
            let bytes = codec.encode(&command).unwrap();
            assert_eq!(codec.decode(&bytes).unwrap(), command);
            let longer = [&bytes[..], &[1]].concat();
            assert!(codec.decode(&longer).is_err(), "left-over bytes are refused");
            let reply = encode_reply(codec.id(), &command).unwrap();
            assert_eq!(reply[0], codec.id());
            assert_eq!(decode_reply::<(u64, String)>(&reply).unwrap(), command);
        }
        assert_eq!(&encode_reply(200, &5u8).unwrap()[..], [CODEC_POSTCARD, 5]);
        assert!(decode_reply::<u8>(&[]).is_err());
        assert!(decode_reply::<u8>(&[9, 9]).is_err());
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Add(u64),
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Add { by: u64 },
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Inner {
        by: u64,
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Skipping {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        by: u64,
    }

    /// What the documentation of `StateMachine::Command` says of serde's attributes.
    #[test]
    fn types_that_ask_the_bytes_for_their_shape_are_for_json() {
        fn survives<C: Serialize + DeserializeOwned + 'static>(codec: &dyn Codec<C>, command: &C) -> bool {
            codec.encode(command).and_then(|bytes| codec.decode(&bytes)).is_ok()
        }
        fn only_json<C: Serialize + DeserializeOwned + 'static>(command: &C) -> bool {
            survives(&Json, command) && !survives(&Postcard, command)
        }
        assert!(only_json(&Untagged::Add(1)) && only_json(&Tagged::Add { by: 1 }));
        assert!(only_json(&Flat { inner: Inner { by: 1 } }) && only_json(&Skipping { note: None, by: 1 }));
        assert!(only_json(&serde_json::json!({ "by": 1 })));
    }
}
