//! Log time (rule 15) rises along the log, and never faster than the fastest clock: no wall clock has a part in it.

use slimcluster_core::{Index, LogTime, Run};

use super::{Verdict, Violation};

/// The log time of the committed log.
#[derive(Debug, Default)]
pub struct LogTimes {
    last: (Index, LogTime),
}

impl LogTimes {
    /// A node was told to apply `run` when no clock can have counted more than `counted` microseconds of leadership.
    pub fn on_apply(&mut self, counted: u64, run: &Run) -> Verdict {
        let (index, before) = self.last;
        if run.last() <= index {
            return Ok(());
        }
        let stamp = run.header().log_time;
        if stamp < before || stamp.0 > counted {
            let detail =
                format!("{run:?} is stamped {stamp:?} after {before:?}, when no clock had counted beyond {counted}");
            return Err(Violation::of("log time", detail));
        }
        self.last = (run.last(), stamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use slimcluster_core::{GroupId, MachineId, RunHeader, RunKind, Term, WallTime};

    fn run(first: u64, log_time: u64) -> Run {
        let header = RunHeader {
            group: GroupId::DEFAULT,
            kind: RunKind::Noop,
            codec: 0,
            command_version: 0,
            term: Term(1),
            first: Index(first),
            machine: MachineId(0),
            log_time: LogTime(log_time),
            wall_time: WallTime(0),
            chain: 0,
        };
        Run::single(header, Bytes::new())
    }

    #[test]
    fn a_stamp_that_goes_back_and_one_from_a_wall_clock_are_found() {
        let mut times = LogTimes::default();
        times.on_apply(2_000, &run(2, 1_100)).unwrap();
        assert!(times.on_apply(2_000, &run(3, 1_099)).is_err());
        assert!(times.on_apply(2_000, &run(3, 1_750_000_000_000_000)).is_err());
        times.on_apply(3_000, &run(3, 2_200)).unwrap();
        // Another replica applies the same again.
        times.on_apply(2_000, &run(2, 1_100)).unwrap();
    }
}
