//! How long the lists of a Protobuf message are, found out before any element is decoded.
//!
//! An empty element takes two bytes on the wire and many times as much in memory. Every element that a node sends holds an id, so a
//! message whose elements are more than such ids would fit into it is malformed, and nobody can make a node hold more than a few times what
//! was sent.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Bytes of an id within a list: its own tag and length, and sixteen.
const ELEMENT_BYTES_MIN: usize = 18;

/// The lists of a message, by their tags, and the messages that lead to some.
pub(super) struct Lists(pub(super) &'static [Field]);

/// A field that is a list, or leads to one.
pub(super) struct Field {
    pub(super) tag: u32,
    pub(super) is_list: bool,
    pub(super) inside: Lists,
}

impl Field {
    /// A list whose elements hold no list.
    pub(super) const fn list(tag: u32) -> Self {
        Field { tag, is_list: true, inside: Lists(&[]) }
    }

    /// A message that holds lists.
    pub(super) const fn leading_to(tag: u32, inside: Lists) -> Self {
        Field { tag, is_list: false, inside }
    }
}

impl Lists {
    /// Whether all elements of `message` together may be what a node has sent. Allocates nothing.
    pub(super) fn are_plausible(&self, message: &[u8]) -> bool {
        self.count(message).is_some_and(|elements| elements <= message.len() / ELEMENT_BYTES_MIN)
    }

    /// None where the bytes are no message.
    fn count(&self, mut message: &[u8]) -> Option<usize> {
        let mut elements = 0;
        while !message.is_empty() {
            let (tag, wire_type) = decode_key(&mut message).ok()?;
            let mut field = message;
            skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
            let Some(known) = self.0.iter().find(|known| known.tag == tag) else { continue };
            if wire_type == WireType::LengthDelimited {
                let length = decode_varint(&mut field).ok()?;
                let content = field.get(..usize::try_from(length).ok()?)?;
                elements += usize::from(known.is_list);
                if !known.inside.0.is_empty() {
                    elements += known.inside.count(content)?;
                }
            }
        }
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SAMPLE: Lists = Lists(&[
        Field::list(1),
        Field::leading_to(2, Lists(&[Field { tag: 3, is_list: true, inside: Lists(&[Field::list(4)]) }])),
    ]);

    #[test]
    fn elements_are_counted_at_every_depth() {
        assert_eq!(SAMPLE.count(b""), Some(0));
        assert_eq!(SAMPLE.count(b"\x0a\x00\x0a\x01x\x28\x05"), Some(2), "another field is skipped");
        // 2 { 3 { 4, 4 } 3 }
        assert_eq!(SAMPLE.count(b"\x12\x08\x1a\x04\x22\x00\x22\x00\x1a\x00"), Some(4));
        for broken in [&b"\x0a"[..], b"\x0a\x05", b"\x12\x01\x1a", b"\xff"] {
            assert_eq!(SAMPLE.count(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn more_elements_than_ids_would_fit_are_not_plausible() {
        let full = [&[0x0a, 18][..], &[0x50; 18]].concat();
        let field = |count: usize| full.repeat(count);
        assert!(SAMPLE.are_plausible(&field(1)) && SAMPLE.are_plausible(&field(50)));
        assert!(!SAMPLE.are_plausible(&b"\x0a\x00".repeat(10)));
        assert!(!SAMPLE.are_plausible(&[field(5), b"\x0a\x00".repeat(5)].concat()));
    }
}
