//! States, commands and replies as people read them: JSON where the type has it, else bytes.

use serde::Serialize;
use serde_json::Value;
use slimcluster_core::machine::{Codec as _, Machine as _, Postcard, StateMachine, Typed, decode_reply};

/// Lines of a difference, and characters of a line.
const LINES_MAX: usize = 16;
const LINE_MAX: usize = 160;

/// A command, in one line.
pub(super) fn command<S: StateMachine>(bytes: &[u8]) -> String {
    let command = Postcard.decode(bytes).ok().and_then(|command: S::Command| json(&command));
    line(command.map_or_else(|| hex(bytes), |value| value.to_string()))
}

/// A reply in its replicated form, in one line.
pub(super) fn reply<S: StateMachine>(bytes: &[u8]) -> String {
    line(reply_value::<S>(bytes).map_or_else(|| hex(bytes), |value| value.to_string()))
}

/// A state, in one line.
pub(super) fn state<S: StateMachine>(bytes: &[u8]) -> String {
    line(state_value::<S>(bytes).map_or_else(|| hex(bytes), |value| value.to_string()))
}

/// How two states differ, in lines; `first` and `second` say whose they are.
pub(super) fn difference<S: StateMachine>(first: (&str, &[u8]), second: (&str, &[u8])) -> String {
    explain("states", (first, state_value::<S>(first.1)), (second, state_value::<S>(second.1)))
}

/// Two replies that differ, each after the words that say whose it is; and how, where their lines do not tell.
pub(super) fn replies<S: StateMachine>(first: (&str, &[u8]), second: (&str, &[u8])) -> String {
    let (ours, theirs) = (reply::<S>(first.1), reply::<S>(second.1));
    if ours != theirs {
        return format!("{} {ours}\n{} {theirs}", first.0, second.0);
    }
    explain("answers", (first, reply_value::<S>(first.1)), (second, reply_value::<S>(second.1)))
}

/// Whose bytes they are, the bytes, and what they say, if they can be read.
type Said<'a> = ((&'a str, &'a [u8]), Option<Value>);

fn explain(what: &str, ((first, a), ours): Said<'_>, ((second, b), theirs): Said<'_>) -> String {
    let lines = match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => changed(&pretty(&ours), &pretty(&theirs)),
        (Some(same), Some(_)) if is_reordered(a, b) => {
            return format!(
                "both {what} read {}\nand differ only in the order in which they are written: a map or set without an order \
                 (HashMap, HashSet) is in them; BTreeMap and BTreeSet have one",
                line(same.to_string())
            );
        }
        (Some(same), Some(_)) => {
            return format!(
                "both {what} read {}\nand their bytes differ: reading them back drops, merges or adds something, or JSON, \
                 in which they are shown, cannot tell it apart\n  - {first}\n  + {second}\n{}",
                line(same.to_string()),
                changed(&dump(a), &dump(b))
            );
        }
        _ => changed(&dump(a), &dump(b)),
    };
    format!("  - {first}\n  + {second}\n{lines}")
}

/// Whether the same bytes stand in another order. What reads alike beyond that is not a matter of order.
fn is_reordered(a: &[u8], b: &[u8]) -> bool {
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    a.len() == b.len() && sorted(a) == sorted(b)
}

fn state_value<S: StateMachine>(bytes: &[u8]) -> Option<Value> {
    let machine = Typed::<S>::new();
    machine.restore(Some(bytes)).ok()?;
    machine.read(|state| json(state)).ok()?
}

fn reply_value<S: StateMachine>(bytes: &[u8]) -> Option<Value> {
    json(&decode_reply::<S::Reply>(bytes).ok()?)
}

/// Its objects are sorted by key, whatever map they came from.
fn json(value: &impl Serialize) -> Option<Value> {
    serde_json::to_value(value).ok()
}

fn pretty(value: &Value) -> Vec<String> {
    serde_json::to_string_pretty(value).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Bytes, sixteen in a line, with their offset.
fn dump(bytes: &[u8]) -> Vec<String> {
    bytes.chunks(16).enumerate().map(|(at, chunk)| format!("{:08x} {}", at * 16, hex(chunk))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines between what begins and what ends alike.
fn changed(a: &[String], b: &[String]) -> String {
    let shorter = a.len().min(b.len());
    let head = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let tail = a.iter().rev().zip(b.iter().rev()).take(shorter - head).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    let context = a.iter().take(head).skip(head.saturating_sub(2)).map(|line| (' ', line));
    let ours = a.iter().take(a.len() - tail).skip(head).map(|line| ('-', line));
    let theirs = b.iter().take(b.len() - tail).skip(head).map(|line| ('+', line));
    for (mark, lines) in [(' ', context.collect::<Vec<_>>()), ('-', ours.collect()), ('+', theirs.collect())] {
        for (_, shown) in lines.iter().take(LINES_MAX) {
            text.push_str(&format!("  {mark} {}\n", line((*shown).clone())));
        }
        if lines.len() > LINES_MAX {
            text.push_str(&format!("  {mark} ... {} more lines\n", lines.len() - LINES_MAX));
        }
    }
    text.trim_end().to_owned()
}

fn line(text: String) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use slimcluster_core::machine::{ApplyContext, CODEC_POSTCARD};

    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Shelf(HashMap<String, u64>);

    impl StateMachine for Shelf {
        type Command = ();
        type Reply = ();

        fn apply(&mut self, _: &ApplyContext, (): ()) {}
    }

    /// The bytes of a shelf with these items, in this order, as postcard writes maps.
    fn bytes(items: &[(&str, u8)]) -> Vec<u8> {
        let mut bytes = vec![items.len() as u8];
        for (name, count) in items {
            bytes.push(name.len() as u8);
            bytes.extend(name.as_bytes());
            bytes.push(*count);
        }
        bytes
    }

    #[test]
    fn a_difference_is_shown_where_it_is() {
        let (a, b) = (bytes(&[("x", 1), ("y", 2)]), bytes(&[("x", 1), ("y", 3)]));
        let text = difference::<Shelf>(("n1", &a), ("n2", &b));
        assert_eq!(text, "  - n1\n  + n2\n    {\n      \"x\": 1,\n  -   \"y\": 2\n  +   \"y\": 3");
        assert_eq!(state::<Shelf>(&a), r#"{"x":1,"y":2}"#);
    }

    #[test]
    fn another_order_is_said_to_be_one() {
        let (a, b) = (bytes(&[("x", 1), ("y", 2)]), bytes(&[("y", 2), ("x", 1)]));
        let text = difference::<Shelf>(("n1", &a), ("n2", &b));
        assert!(text.starts_with(r#"both states read {"x":1,"y":2}"#) && text.contains("HashMap"), "{text}");
    }

    /// Reads no more than two of its items.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(from = "Vec<u8>")]
    struct Short(Vec<u8>);

    impl From<Vec<u8>> for Short {
        fn from(mut items: Vec<u8>) -> Self {
            items.truncate(2);
            Short(items)
        }
    }

    impl StateMachine for Short {
        type Command = ();
        type Reply = HashMap<u8, char>;

        fn apply(&mut self, _: &ApplyContext, (): ()) -> Self::Reply {
            HashMap::new()
        }
    }

    #[test]
    fn what_reading_drops_is_not_said_to_be_an_order() {
        for (a, b) in [(&[3, 7, 8, 9][..], &[2, 7, 8][..]), (&[3, 7, 8, 9], &[3, 7, 8, 1])] {
            let text = difference::<Short>(("written", a), ("read back, written again", b));
            assert!(
                text.starts_with("both states read [7,8]\nand their bytes differ: reading them back drops"),
                "{text}"
            );
            let bytes =
                format!("  - written\n  + read back, written again\n  - 00000000 {}\n  + 00000000 {}", hex(a), hex(b));
            assert!(text.ends_with(&bytes) && !text.contains("order"), "{text}");
        }
    }

    #[test]
    fn replies_of_one_text_are_told_apart() {
        let bytes = |[(a, x), (b, y)]: [(u8, char); 2]| [CODEC_POSTCARD, 2, a, 1, x as u8, b, 1, y as u8];
        let (a, b) = (bytes([(1, 'x'), (2, 'y')]), bytes([(2, 'y'), (1, 'x')]));
        let text = replies::<Short>(("n1 answered", &a), ("n2 answered", &b));
        let json = r#"{"1":"x","2":"y"}"#;
        assert!(text.starts_with(&format!("both answers read {json}\nand differ only in the order")), "{text}");
        assert!(text.contains("HashMap"), "{text}");
        let other = replies::<Short>(("n1 answered", &a), ("n2 answered", &bytes([(1, 'x'), (2, 'z')])));
        assert_eq!(other, format!("n1 answered {json}\nn2 answered {}", json.replace('y', "z")));
    }

    #[test]
    fn replies_that_differ_beyond_a_line_are_told_apart() {
        let bytes = |count: u8| {
            let items = (0..count).flat_map(|item| [item, 1, b'x']);
            [CODEC_POSTCARD, count].into_iter().chain(items).collect::<Vec<_>>()
        };
        let text = replies::<Short>(("n1 answered", &bytes(99)), ("n2 answered", &bytes(100)));
        assert!(
            text.starts_with("  - n1 answered\n  + n2 answered\n") && text.contains("  +   \"99\": \"x\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_state_is_shown_as_bytes() {
        let text = difference::<Shelf>(("n1", &[1, 2]), ("n2", &[1, 3]));
        assert_eq!(text, "  - n1\n  + n2\n  - 00000000 0102\n  + 00000000 0103");
        assert_eq!(state::<Shelf>(&[255]), "ff");
    }
}
