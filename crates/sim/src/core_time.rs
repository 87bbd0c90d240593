//! How long this thread has computed: the honest measure of speed on a machine that others use as well.

use std::time::Duration;

/// A moment in the time that the present thread spends computing.
#[derive(Clone, Copy, Debug)]
pub struct CoreTime(Duration);

impl CoreTime {
    /// Now, on this thread.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
        // The kernel counts from 0 at the start of the thread.
        CoreTime(Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default()))
    }

    /// What this thread has computed since; must be asked on the same thread.
    pub fn elapsed(self) -> Duration {
        CoreTime::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_costs_no_core_time() {
        let began = CoreTime::now();
        std::thread::sleep(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_millis(40), "{:?}", began.elapsed());
    }
}
