//! What a node says of its cluster at `GET /cluster`, as text for people.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::http::{self, Url};

/// The answer of `GET /cluster`. Fields that a later version adds are ignored.
#[derive(Debug, Deserialize)]
pub struct ClusterView {
    cluster_id: String,
    node: NodeView,
    role: String,
    term: u64,
    leader: Option<String>,
    commit: u64,
    applied: u64,
    waiting: Option<String>,
    members: Vec<MemberView>,
}

#[derive(Debug, Deserialize)]
struct NodeView {
    name: String,
}

#[derive(Debug, Deserialize)]
struct MemberView {
    id: String,
    name: String,
    address: String,
    http: Option<String>,
    state: String,
}

impl ClusterView {
    /// Asks the node at `url`.
    ///
    /// # Errors
    /// One sentence that names the address and what went wrong.
    pub fn fetch(url: &Url) -> Result<ClusterView, String> {
        let body = http::get(url, "/cluster")?;
        serde_json::from_slice(&body)
            .map_err(|error| format!("{url}/cluster does not answer as a SlimCluster node does: {error}"))
    }

    /// One line, and a second one if the node waits for something.
    pub fn status(&self) -> String {
        let alive = self.members.iter().filter(|member| member.state == "alive").count();
        let leader = match &self.leader {
            Some(name) => format!("leader {} (term {})", printable(name), self.term),
            None => format!("no leader (term {})", self.term),
        };
        let mut text = format!(
            "{} · {alive}/{} alive · {leader} · commit {} · seen by {}, {}, applied {}\n",
            printable(&self.cluster_id),
            self.members.len(),
            self.commit,
            printable(&self.node.name),
            printable(&self.role),
            self.applied,
        );
        if let Some(waiting) = &self.waiting {
            text += &format!("waiting: {}\n", printable(waiting));
        }
        text
    }

    /// One line per member under a heading, in columns.
    pub fn members_table(&self) -> String {
        let mut rows = vec![["NAME", "STATE", "ADDRESS", "HTTP", "ID"].map(str::to_owned)];
        for member in &self.members {
            let is_leader = self.leader.as_ref() == Some(&member.name);
            let name = printable(&member.name) + if is_leader { " (leader)" } else { "" };
            let http = member.http.as_deref().map_or_else(|| "-".to_owned(), printable);
            rows.push([name, printable(&member.state), printable(&member.address), http, printable(&member.id)]);
        }
        let mut widths = [0; 5];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", cells.join("  ").trim_end());
        }
        text
    }
}

/// What came over the network must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"cluster_id": "counter", "node": {"id": "0a", "name": "n1"}, "role": "follower", "term": 7,
        "leader": "n2", "commit": 12, "applied": 11, "waiting": null, "feature": 1, "members": [
        {"id": "0a", "name": "n1", "address": "127.0.0.1:60001", "http": "127.0.0.1:8081", "state": "alive"},
        {"id": "0b", "name": "n2", "address": "127.0.0.1:60002", "http": null, "state": "suspect"}]}"#;

    #[test]
    fn a_cluster_in_one_line() {
        let view: ClusterView = serde_json::from_str(ANSWER).expect("an answer");
        let expected = "counter · 1/2 alive · leader n2 (term 7) · commit 12 · seen by n1, follower, applied 11\n";
        assert_eq!(view.status(), expected);
    }

    #[test]
    fn a_node_that_waits_says_for_what() {
        let answer = ANSWER.replace(r#""leader": "n2""#, r#""leader": null"#);
        let answer = answer.replace(r#""waiting": null"#, r#""waiting": "1 of 3: n3\u001b[2J""#);
        let view: ClusterView = serde_json::from_str(&answer).expect("an answer");
        assert!(view.status().contains("no leader (term 7)"));
        assert!(view.status().ends_with("waiting: 1 of 3: n3\u{fffd}[2J\n"));
    }

    #[test]
    fn members_in_columns() {
        let view: ClusterView = serde_json::from_str(ANSWER).expect("an answer");
        let table = "\
NAME         STATE    ADDRESS          HTTP            ID
n1           alive    127.0.0.1:60001  127.0.0.1:8081  0a
n2 (leader)  suspect  127.0.0.1:60002  -               0b
";
        assert_eq!(view.members_table(), table);
    }
}
