//! Printing to whoever still listens.

/// Prints a line to standard output. A reader that has seen enough and gone, as `head` does, is no reason to panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

pub(super) use say;
