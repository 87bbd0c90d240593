//! How protocol messages are written on the wire.

/// The form of protocol messages. Every node decodes every form, so a cluster can be switched node by node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serialization {
    /// Compact; the default.
    #[default]
    Protobuf,
    /// Readable on the wire, commands included.
    Json,
}

/// Compact protocol messages: `.serialization(Protobuf)`, the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protobuf;

/// Protocol messages that can be read on the wire: `.serialization(Json)`. Commands are written as JSON, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl From<Protobuf> for Serialization {
    fn from(_: Protobuf) -> Self {
        Serialization::Protobuf
    }
}

impl From<Json> for Serialization {
    fn from(_: Json) -> Self {
        Serialization::Json
    }
}
