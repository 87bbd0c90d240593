//! Banned words: what is left for later, and names that say nothing.

use crate::source;
use crate::tree::{Finding, Tree};

/// Macros that must not be committed.
const MACROS: &[&str] = &["todo", "unimplemented", "dbg"];
/// Parts of a name that stand in for a concept nobody named.
const NAMES: &[&str] = &["Manager", "Helper", "Util"];

/// Every banned macro, in tests too, every identifier with an empty word in it, and every file named so.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let tokens = source::tokens(&source::code(text));
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_word()) {
            if MACROS.contains(&token.text.as_str()) && tokens.get(at + 1).is_some_and(|next| next.text == "!") {
                findings.push(Finding::at(path, token.line, format!("`{}!` must not be committed", token.text)));
            }
            if let Some(name) = NAMES.iter().find(|name| says(&token.text, name)) {
                let text = format!("`{}`: name the concept; {name} says nothing", token.text);
                findings.push(Finding::at(path, token.line, text));
            }
        }
        let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
        if let Some(name) = NAMES.iter().find(|name| stem.trim_end_matches('s') == name.to_lowercase()) {
            findings.push(Finding::of(path, format!("a file named for no concept; {name} says nothing")));
        }
    }
    findings
}

/// True if `word` is one of the words of a camel-case `identifier`, alone or in the plural. `Utilization` is another word.
fn says(identifier: &str, word: &str) -> bool {
    identifier.match_indices(word).any(|(at, _)| {
        let rest = &identifier[at + word.len()..];
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        !rest.starts_with(|c: char| c.is_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, code: &str) -> usize {
        check(&Tree::of(&[(path, code)])).len()
    }

    #[test]
    fn banned_words_fail() {
        let path = "crates/a/src/lib.rs";
        for code in [
            "fn a() { todo!() }",
            "fn a() { unimplemented!(\"later\") }",
            "#[cfg(test)] mod tests { fn a() { dbg!(1); } }",
            "struct LogManager;",
            "struct HelperThread;",
            "struct TimeUtils;",
        ] {
            assert_eq!(findings(path, code), 1, "{code}");
        }
        assert_eq!(findings("crates/a/src/utils.rs", ""), 1);
    }

    #[test]
    fn the_same_letters_elsewhere_pass() {
        let path = "crates/a/src/lib.rs";
        for code in
            ["// todo!() is banned", "const A: &str = \"Manager\";", "use hyper_util::rt;", "struct Utilization;"]
        {
            assert_eq!(findings(path, code), 0, "{code}");
        }
    }
}
