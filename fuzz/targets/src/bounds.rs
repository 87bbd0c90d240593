//! Sound messages with one number moved to the bound of all counters, and one beyond it: what blind mutation finds too seldom, since a longer number
//! changes every length around it.

use slimcluster_core::types::COUNTER_MAX;

const VALUES: [u64; 3] = [COUNTER_MAX, COUNTER_MAX + 1, u64::MAX];

/// The variants of a Protobuf message: each number of it, at any depth, at each of the values.
pub fn protobuf(message: &[u8]) -> Vec<Vec<u8>> {
    let (mut variants, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let before = &message[..message.len() - rest.len()];
        let Some((key, behind_key)) = varint(rest) else { return Vec::new() };
        let head = &rest[..rest.len() - behind_key.len()];
        let (replacements, behind): (Vec<Vec<u8>>, &[u8]) = match key & 7 {
            0 => {
                let Some((_, behind)) = varint(behind_key) else { return Vec::new() };
                (VALUES.iter().map(|value| encoded(*value)).collect(), behind)
            }
            1 => {
                let Some((_, behind)) = behind_key.split_at_checked(8) else { return Vec::new() };
                (VALUES.iter().map(|value| value.to_le_bytes().to_vec()).collect(), behind)
            }
            2 => {
                let Some((length, behind)) = varint(behind_key) else { return Vec::new() };
                let Some((content, behind)) = behind.split_at_checked(length as usize) else { return Vec::new() };
                // Text and ids that look like a message do no harm: they become other text and ids.
                let framed = |inner: Vec<u8>| [encoded(inner.len() as u64), inner].concat();
                (protobuf(content).into_iter().map(framed).collect(), behind)
            }
            _ => return Vec::new(),
        };
        variants.extend(replacements.into_iter().map(|value| [before, head, &value, behind].concat()));
        rest = behind;
    }
    variants
}

/// The variants of a JSON text: each whole number in it at each of the values.
pub fn json(text: &str) -> Vec<String> {
    let mut variants = Vec::new();
    let mut at = 0;
    // Numbers stand behind a colon; digits in text do not.
    while let Some(colon) = text[at..].find(':') {
        let start = at + colon + 1;
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let (before, behind) = (&text[..start], &text[start + digits..]);
            variants.extend(VALUES.iter().map(|value| format!("{before}{value}{behind}")));
        }
        at = start + digits;
    }
    variants
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take(10).position(|byte| *byte < 0x80)? + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, &bytes[length..]))
}

/// A number as Protobuf writes it.
pub fn encoded(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_a_message_is_moved_and_the_lengths_around_it_follow() {
        // 1: 5, 2: { 1: 7 }
        let variants = protobuf(b"\x08\x05\x12\x02\x08\x07");
        assert_eq!(variants.len(), 2 * VALUES.len());
        assert_eq!(variants[1], b"\x08\x81\x80\x80\x80\x80\x80\x40\x12\x02\x08\x07");
        assert_eq!(variants[3], b"\x08\x05\x12\x08\x08\x80\x80\x80\x80\x80\x80\x40");
        assert_eq!(protobuf(b"\xff"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn each_number_of_a_text_is_moved() {
        let variants = json(r#"{"a":{"b":3},"address":"1.2.3.4:5","c":[7]}"#);
        assert!(variants.contains(&r#"{"a":{"b":281474976710657},"address":"1.2.3.4:5","c":[7]}"#.to_owned()));
        assert_eq!(variants.len(), 2 * VALUES.len(), "a port is a number, too");
    }
}
