//! A panic names its seed before anything else: whatever else is printed, or lost, the run can be found again.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, UnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::checkers::Violation;

/// What this thread runs.
#[derive(Clone, Copy)]
enum Running {
    /// No world.
    Nothing,
    /// The world of a seed.
    Seed(u64),
    /// A world that is known to fail: its panic says nothing new.
    Again,
}

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(Running::Nothing) };
}

/// Sets what runs on this thread, until it is dropped.
struct Turn(Running);

impl Turn {
    fn begin(running: Running) -> Self {
        Turn(RUNNING.replace(running))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

/// Runs `run` as the world of `seed`. A panic in it is a violation like any other, and is printed with the seed ahead of it.
pub(crate) fn naming<T>(seed: u64, run: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    install();
    let running = if matches!(RUNNING.get(), Running::Again) { Running::Again } else { Running::Seed(seed) };
    let _turn = Turn::begin(running);
    // What a panic leaves half done is described for the report and then thrown away.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Violation::of("no panic", text(&*panic))))
}

/// What a panic said.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

/// Runs `run` without printing the panics of the worlds in it.
pub(crate) fn silently<T>(run: impl FnOnce() -> T) -> T {
    let _turn = Turn::begin(Running::Again);
    run()
}

/// What `look` sees; nothing if it panics, as it may over the remains of a world that did.
pub(crate) fn spared<T: Default>(look: impl FnOnce() -> T + UnwindSafe) -> T {
    silently(|| catch_unwind(look).unwrap_or_default())
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| match RUNNING.get() {
            Running::Nothing => before(panic),
            Running::Seed(seed) => {
                eprintln!("seed {seed} panics");
                before(panic);
            }
            Running::Again => {}
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_violation_and_leaves_nothing_behind() {
        let panics = || naming::<()>(7, || panic!("at {}", 42));
        assert_eq!(panics(), Err(Violation::of("no panic", "at 42")));
        assert_eq!(silently(panics), Err(Violation::of("no panic", "at 42")));
        assert!(matches!(RUNNING.get(), Running::Nothing));
        assert_eq!(naming(7, || Ok(matches!(RUNNING.get(), Running::Seed(7)))), Ok(true));
    }
}
