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
    let reply = decode_reply::<S::Reply>(bytes).ok().and_then(|reply| json(&reply));
    line(reply.map_or_else(|| hex(bytes), |value| value.to_string()))
}

/// A state, in one line.
pub(super) fn state<S: StateMachine>(bytes: &[u8]) -> String {
    line(state_value::<S>(bytes).map_or_else(|| hex(bytes), |value| value.to_string()))
}

/// How two states differ, in lines; `first` and `second` say whose they are.
pub(super) fn difference<S: StateMachine>((first, a): (&str, &[u8]), (second, b): (&str, &[u8])) -> String {
    let lines = match (state_value::<S>(a), state_value::<S>(b)) {
        (Some(a), Some(b)) if a == b => {
            return format!(
                "both states read {}\nand differ only in the order in which they are written: a map or set without an order \
                 (HashMap, HashSet) is in the state; BTreeMap and BTreeSet have one",
                line(a.to_string())
            );
        }
        (Some(a), Some(b)) => changed(&pretty(&a), &pretty(&b)),
        _ => changed(&dump(a), &dump(b)),
    };
    format!("  - {first}\n  + {second}\n{lines}")
}

fn state_value<S: StateMachine>(bytes: &[u8]) -> Option<Value> {
    let machine = Typed::<S>::new();
    machine.restore(Some(bytes)).ok()?;
    machine.read(|state| json(state)).ok()?
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
    use slimcluster_core::machine::ApplyContext;

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

    #[test]
    fn what_is_no_state_is_shown_as_bytes() {
        let text = difference::<Shelf>(("n1", &[1, 2]), ("n2", &[1, 3]));
        assert_eq!(text, "  - n1\n  + n2\n  - 00000000 0102\n  + 00000000 0103");
        assert_eq!(state::<Shelf>(&[255]), "ff");
    }
}
