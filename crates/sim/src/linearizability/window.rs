//! What is shown of a contradiction: the operations around it as bars on one time line, the order that explains everything before, and
//! the operation that fits nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::history::{Operation, OperationId, Outcome};
use super::search::Blocked;

/// Rows that are shown even where the contradiction needs fewer: a stale read is understood by the writes before it.
const ROWS_MIN: usize = 6;
/// Rows that are shown at most: what a person takes in.
const ROWS_MAX: usize = 24;
/// Characters of an input, an output or a state.
const TEXT_MAX: usize = 120;

/// The shortest beginning of a history that no order explains, around its end.
///
/// Its right end is exact: one return earlier, there is an order. On the left it goes back to the last moment at which nothing was in
/// flight, within some bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The key whose operations these are.
    pub key: String,
    /// The operation that fits nowhere.
    pub fits_nowhere: OperationId,
    /// When it had returned: the history before that can be explained.
    pub horizon: u64,
    /// An order of everything that had returned before, and perhaps of more.
    pub order: Vec<OperationId>,
    /// Some of the states that such orders end in; the operation fits in none of them.
    pub states: Vec<String>,
    /// The operations that are shown, in the order of their invocations.
    pub rows: Vec<Row>,
    /// How many earlier operations of the key are not shown.
    pub earlier: usize,
}

/// An operation that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub id: OperationId,
    /// Whose.
    pub client: u64,
    /// When it was sent.
    pub invoked: u64,
    /// By when it had taken effect, if it certainly did.
    pub due: Option<u64>,
    /// What was asked and answered.
    pub text: String,
}

impl Window {
    /// The window of a contradiction among `operations`, all of `key`.
    pub(super) fn of<'a, I: fmt::Debug + 'a, O: fmt::Debug + 'a>(
        key: &impl fmt::Debug,
        operations: impl Iterator<Item = (OperationId, &'a Operation<I, O>)>,
        blocked: Blocked<impl fmt::Debug>,
    ) -> Self {
        let mut rows: Vec<Row> = operations
            .filter(|(_, operation)| !operation.is_refused() && operation.invoked <= blocked.horizon)
            .map(|(id, operation)| Row {
                id,
                client: operation.client,
                invoked: operation.invoked,
                due: operation.due(),
                text: describe(operation),
            })
            .collect();
        rows.sort_by_key(|row| (row.invoked, row.id));
        let bad = rows.iter().position(|row| row.id == blocked.id).unwrap_or_default();
        let start =
            last_quiet(&rows, bad).min(rows.len().saturating_sub(ROWS_MIN)).max(rows.len().saturating_sub(ROWS_MAX));
        let mut shown = rows.split_off(start);
        if bad < start {
            // It was in flight for so long that the others fill the page.
            shown[0] = rows.swap_remove(bad);
        }
        Window {
            key: format!("{key:?}"),
            fits_nowhere: blocked.id,
            horizon: blocked.horizon,
            order: blocked.order,
            states: blocked.states.iter().map(|state| cut(format!("{state:?}"))).collect(),
            rows: shown,
            earlier: start,
        }
    }

    /// The bars of the rows, in columns: one for each time at which something began or ended.
    fn bars(&self) -> Vec<String> {
        let times: BTreeSet<u64> = self.rows.iter().flat_map(|row| [Some(row.invoked), row.due]).flatten().collect();
        let columns: BTreeMap<u64, usize> =
            times.into_iter().enumerate().map(|(column, time)| (time, column)).collect();
        let bar = |row: &Row| {
            let from = columns.get(&row.invoked).copied().unwrap_or_default();
            let (to, fill, end) = match row.due.and_then(|due| columns.get(&due)) {
                Some(to) => (*to, '=', '|'),
                None => (columns.len(), '-', '?'),
            };
            let mut bar = vec![' '; columns.len() + 1];
            bar[from..to].fill(fill);
            bar[to] = end;
            bar[from] = '|';
            bar.into_iter().collect()
        };
        self.rows.iter().map(bar).collect()
    }
}

/// The first row of the last stretch before `bad` in which something was in flight all the time. What may still take effect at any time
/// does not count: it would be in flight for ever.
fn last_quiet(rows: &[Row], bad: usize) -> usize {
    let (mut quiet, mut busy_until) = (0, None);
    for (at, row) in rows.iter().enumerate().take(bad + 1) {
        if busy_until.is_some_and(|until| until < row.invoked) {
            quiet = at;
        }
        busy_until = busy_until.max(row.due);
    }
    quiet
}

fn describe<I: fmt::Debug, O: fmt::Debug>(operation: &Operation<I, O>) -> String {
    let input = cut(format!("{:?}", operation.input));
    match &operation.outcome {
        Outcome::Returned { output, .. } => format!("{input} -> {}", cut(format!("{output:?}"))),
        Outcome::Applied { .. } => format!("{input}, answer lost"),
        Outcome::Unknown => format!("{input}, outcome unknown"),
        Outcome::Refused => format!("{input}, refused"),
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains key {} up to time {}", self.key, self.horizon)?;
        if self.earlier > 0 {
            writeln!(f, "  ({} earlier operations are not shown)", self.earlier)?;
        }
        writeln!(f, "  place  client")?;
        let places: BTreeMap<OperationId, usize> = self.order.iter().zip(1..).map(|(id, place)| (*id, place)).collect();
        for (row, bar) in self.rows.iter().zip(self.bars()) {
            let place = places.get(&row.id).map_or_else(|| "-".to_owned(), usize::to_string);
            let mark = if row.id == self.fits_nowhere { "   <- fits nowhere" } else { "" };
            writeln!(f, "  {place:>5}  {:>6}  {bar}  {}{mark}", row.client, row.text)?;
        }
        write!(f, "  an order of all that had returned before has {} places", self.order.len())?;
        match self.states.as_slice() {
            [] => Ok(()),
            [state] => write!(f, "; the state is then {state}"),
            states => write!(f, "; such orders end in {}", states.join(" or ")),
        }
    }
}
