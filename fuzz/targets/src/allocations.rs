//! How much memory a piece of code holds at once, counted by the global allocator of every binary that links this crate.
//!
//! Counted per thread: tests run side by side, and the code under test spawns nothing. A reallocation counts both buffers, since both
//! exist while the bytes are copied.

#![allow(unsafe_code, reason = "`GlobalAlloc` is unsafe by its signature; all calls are handed on unchanged")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static HIGHEST: Cell<isize> = const { Cell::new(0) };
}

/// Runs `code`, which may hold at most `bytes_max` bytes at once beyond what was held before.
///
/// # Panics
/// When it held more; `what` names the code.
pub fn within<T>(bytes_max: usize, what: &str, code: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    let outer = PEAK.replace(before);
    let value = code();
    let peak = PEAK.get();
    PEAK.set(peak.max(outer));
    let held = peak - before;
    HIGHEST.set(HIGHEST.get().max(held));
    assert!(held.unsigned_abs() <= bytes_max, "{what} held {held} bytes at once; {bytes_max} are allowed");
    value
}

/// The most that any [`within`] of this thread has held since the last call.
pub fn take_peak() -> usize {
    HIGHEST.replace(0).unsigned_abs()
}

struct Counting;

impl Counting {
    // Without access to the thread's cells, while it ends, nothing is measured any more.
    fn add(bytes: usize) {
        let _ = HELD.try_with(|held| {
            held.set(held.get() + bytes as isize);
            let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
        });
    }

    fn subtract(bytes: usize) {
        let _ = HELD.try_with(|held| held.set(held.get() - bytes as isize));
    }
}

// SAFETY: every call goes to the system's allocator with the arguments that came, and its answer goes back unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Counting::add(new_size);
        Counting::subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Counting::subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_at_once_counts_and_what_is_freed_before_does_not() {
        within(3_000, "two in turn", || {
            drop(vec![1u8; 2_000]);
            drop(vec![1u8; 2_000]);
        });
        let both = || (vec![1u8; 2_000], vec![1u8; 2_000]);
        assert!(std::panic::catch_unwind(|| within(3_000, "two at once", both)).is_err());
        within(4_000, "two at once", both);
    }

    #[test]
    fn a_vector_that_grows_holds_both_buffers() {
        let grow = || {
            let mut bytes = vec![0u8; 1_000];
            bytes.reserve_exact(1);
        };
        within(2_001, "growing", grow);
        assert!(std::panic::catch_unwind(|| within(2_000, "growing", grow)).is_err());
    }
}
