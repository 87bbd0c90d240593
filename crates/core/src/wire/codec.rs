//! Which encoding the bodies of protocol messages have.

/// The encoding of message bodies. Each datagram and frame names its own and every node decodes both, so a cluster can be switched node by node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Protobuf: compact; unknown fields are tolerated.
    #[default]
    Protobuf,
    /// JSON: readable on the wire.
    Json,
}

impl Codec {
    /// Its byte on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Codec::Protobuf => 1,
            Codec::Json => 2,
        }
    }

    /// From its byte on the wire; none for an encoding of a future version.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Codec::Protobuf),
            2 => Some(Codec::Json),
            _ => None,
        }
    }
}
