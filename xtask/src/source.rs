//! Rust text as the checks see it: without comments, literals and test code, as tokens and as paths.
//!
//! This is a scanner, not a parser: it knows just enough of the grammar that a word in a comment or a string is never taken
//! for code, and that `use a::{b, c::d};` is seen as `a::b` and `a::c::d`.

use std::ops::Range;

/// `text` with every comment replaced by blanks and every line kept.
pub fn without_comments(text: &str) -> String {
    scan(text, false)
}

/// `text` with comments, strings and characters replaced by blanks and every line kept.
pub fn code(text: &str) -> String {
    scan(text, true)
}

/// [`code`] with the items behind `#[cfg(test)]` replaced by blanks as well.
pub fn production_code(text: &str) -> String {
    let mut code: Vec<char> = code(text).chars().collect();
    for item in test_items(&code) {
        blank(&mut code[item]);
    }
    code.into_iter().collect()
}

/// How many lines of `text` are not part of items behind `#[cfg(test)]`; comments and blank lines count, they are read too.
pub fn production_lines(text: &str) -> usize {
    let code: Vec<char> = code(text).chars().collect();
    let newlines = |part: &[char]| part.iter().filter(|c| **c == '\n').count();
    let tests: usize = test_items(&code).into_iter().map(|item| newlines(&code[item]) + 1).sum();
    text.lines().count().saturating_sub(tests)
}

/// The names of the modules that `text` declares as `#[cfg(test)] mod name;`: their files are tests.
pub fn test_modules(text: &str) -> Vec<String> {
    let tokens = tokens(&code(text));
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    words
        .windows(10)
        .filter(|window| window[..8] == ["#", "[", "cfg", "(", "test", ")", "]", "mod"] && window[9] == ";")
        .map(|window| window[8].to_owned())
        .collect()
}

/// A word, `::`, or any other single character that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The text itself.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Token {
    /// True for identifiers and keywords.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of [`code`].
pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            tokens.push(Token { text: token.to_owned(), line: line + 1 });
            rest = after.trim_start();
        }
    }
    tokens
}

/// A path in the code, with the groups of a `use` written out; a glob ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    /// The parts between `::`.
    pub parts: Vec<String>,
    /// Where its last part stands, counted from 1.
    pub line: usize,
}

impl CodePath {
    /// True if the path is `prefix`, written with `::`, or goes on from it.
    pub fn starts_with(&self, prefix: &str) -> bool {
        let mut parts = self.parts.iter();
        prefix.split("::").all(|part| parts.next().is_some_and(|own| own == part))
    }
}

/// Every path of [`code`], single words included.
pub fn paths(code: &str) -> Vec<CodePath> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if tokens[at].is_word() { path_at(&tokens, at, Vec::new(), &mut found) } else { at + 1 };
    }
    found
}

/// Reads the path that begins at `at`, behind `prefix`; returns the position after it.
fn path_at(tokens: &[Token], mut at: usize, mut prefix: Vec<String>, found: &mut Vec<CodePath>) -> usize {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    while let Some(token) = tokens.get(at) {
        let line = token.line;
        if token.is_word() || token.text == "*" {
            prefix.push(token.text.clone());
            let goes_on = is(at + 1, "::")
                && tokens.get(at + 2).is_some_and(|next| next.is_word() || next.text == "*" || next.text == "{");
            if !goes_on {
                // `use a::b::{self}` names `a::b`.
                if prefix.len() > 1 && prefix.last().is_some_and(|last| last == "self") {
                    prefix.pop();
                }
                found.push(CodePath { parts: prefix, line });
                return at + 1;
            }
            at += 2;
        } else if token.text == "{" {
            at += 1;
            while at < tokens.len() && !is(at, "}") {
                at = if tokens[at].is_word() || is(at, "*") || is(at, "{") {
                    path_at(tokens, at, prefix.clone(), found)
                } else {
                    at + 1
                };
            }
            return at + 1;
        } else {
            return at + 1;
        }
    }
    at
}

/// Where the items behind `#[cfg(test)]` stand in [`code`], their attribute included.
fn test_items(code: &[char]) -> Vec<Range<usize>> {
    const MARK: &[char] = &['#', '[', 'c', 'f', 'g', '(', 't', 'e', 's', 't', ')', ']'];
    let mut items = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let end = if code[at..].starts_with(MARK) { item_end(code, at + MARK.len()) } else { at };
        if end > at {
            items.push(at..end);
        }
        at = end.max(at + 1);
    }
    items
}

/// Where the item that begins at `start` ends: behind its first `;`, or behind the braces that it opens first.
fn item_end(code: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.iter().enumerate().skip(start) {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(part: &mut [char]) {
    for c in part.iter_mut().filter(|c| **c != '\n') {
        *c = ' ';
    }
}

fn scan(text: &str, literals: bool) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let (length, is_comment) = match comment(&chars[at..]) {
            Some(length) => (length, true),
            None => (literal(&chars, at).unwrap_or(0), false),
        };
        let end = (at + length).min(chars.len());
        if length > 0 && (is_comment || literals) {
            blank(&mut chars[at..end]);
        }
        at = end.max(at + 1);
    }
    chars.into_iter().collect()
}

/// The length of the comment that begins here.
fn comment(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        let step = if rest[at..].starts_with(&['/', '*']) {
            depth += 1;
            2
        } else if rest[at..].starts_with(&['*', '/']) {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
    }
    Some(at)
}

/// The length of the string or character literal that begins at `start`, with its prefix.
fn literal(chars: &[char], start: usize) -> Option<usize> {
    let rest = &chars[start..];
    let in_word = start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_');
    if !in_word {
        // r"..", r#".."#, br"..", cr"..": no escapes, ends at as many # as it began with.
        let prefix = rest.iter().take(2).take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
        if prefix > 0 && rest[prefix - 1] == 'r' {
            let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
            if rest.get(prefix + hashes) == Some(&'"') {
                let body = prefix + hashes + 1;
                let ends =
                    |at: usize| rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
                let end = (body..rest.len()).find(|at| ends(*at));
                return Some(end.map_or(rest.len(), |end| end + 1 + hashes));
            }
        }
    }
    match rest.first()? {
        '"' => Some(1 + quoted(&rest[1..], '"')),
        // 'a' and '\n' are characters, 'a without a closing quote is a lifetime.
        '\'' if rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'') => Some(1 + quoted(&rest[1..], '\'')),
        _ => None,
    }
}

/// The length of the rest of a literal up to and with its closing `quote`.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        paths(&code(text)).into_iter().map(|path| path.parts.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"// \\\" x\"; // y\nlet b = 'z'; /* w /* v */ u */ let c: &'static str = r#\"t \" s\"#;";
        assert_eq!(names(text).join(" "), "let a let b let c static str");
        assert_eq!(code(text).lines().count(), 2);
        assert!(without_comments(text).contains("// \\\" x"));
        assert!(!without_comments(text).contains('y'));
    }

    #[test]
    fn groups_of_a_use_are_written_out() {
        let found = names("use std::{fmt, collections::{BTreeMap, *}, time::{self, Duration}};");
        let expected = [
            "use",
            "std::fmt",
            "std::collections::BTreeMap",
            "std::collections::*",
            "std::time",
            "std::time::Duration",
        ];
        assert_eq!(found, expected);
        assert_eq!(names("Vec::<u8>::new() + a::b"), ["Vec", "u8", "new", "a::b"]);
    }

    #[test]
    fn test_items_are_cut() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { if x {} }\n}\n#[cfg(test)]\nmod script;\nfn c() {}";
        assert_eq!(names(&production_code(text)).join(" "), "fn a fn c");
        assert_eq!(test_modules(text), ["script"]);
    }
}
