//! A panic in a world, wherever it is, names its seed before anything else is printed.

use std::process::Command;

use slimcluster_core::Index;
use slimcluster_core::machine::{Applied, Machine};
use slimcluster_core::node::io::Refused;
use slimcluster_core::random::Random;
use slimcluster_core::storage::Reply;
use slimcluster_sim::checkers::Verdict;
use slimcluster_sim::network::Endpoint;
use slimcluster_sim::swarm::Profile;
use slimcluster_sim::workload::{OperationId, Request, Wanted, Workload};
use slimcluster_sim::{Plan, RunOptions, registers, run_workload};

/// Set in the process that panics.
const PANICS: &str = "SIM_TEST_PANICS";

#[test]
fn a_panic_names_its_seed_before_anything_else() {
    if std::env::var_os(PANICS).is_some() {
        let panicking = |plan: &Plan| -> Box<dyn Workload> { Box::new(Panicking(registers(plan))) };
        let failure =
            run_workload(&Plan::draw(77, Some(Profile::General)), RunOptions::default(), &panicking).unwrap_err();
        assert_eq!((failure.violation.property, failure.violation.detail.as_str()), ("no panic", "too much"));
        assert!(failure.to_string().contains("replay 77"), "{failure}");
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "a_panic_names_its_seed_before_anything_else", "--nocapture"]).env(PANICS, "1");
    let output = again.output().expect("this test, again");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().find(|line| !line.is_empty()), Some("seed 77 panics"), "{said}");
    assert_eq!(said.matches("too much").count(), 1, "the second run of the failure is silent: {said}");
}

/// The registers, until a client begins its twentieth operation.
struct Panicking(Box<dyn Workload>);

impl Workload for Panicking {
    fn machine_name(&self) -> &str {
        self.0.machine_name()
    }

    fn start(&mut self, endpoint: Endpoint) -> Box<dyn Machine> {
        self.0.start(endpoint)
    }

    fn end(&mut self, endpoint: Endpoint) {
        self.0.end(endpoint);
    }

    fn begin(&mut self, at: u64, client: usize, wanted: Wanted, rng: &mut Random) -> (OperationId, Request) {
        let begun = self.0.begin(at, client, wanted, rng);
        assert!(begun.0.0 < 20, "too much");
        begun
    }

    fn on_committed(&mut self, at: u64, operation: OperationId, index: Index, reply: &Reply) -> Verdict {
        self.0.on_committed(at, operation, index, reply)
    }

    fn on_refused(&mut self, at: u64, operation: OperationId, refused: Refused) -> Verdict {
        self.0.on_refused(at, operation, refused)
    }

    fn on_unknown(&mut self, at: u64, operation: OperationId) {
        self.0.on_unknown(at, operation);
    }

    fn on_read(&mut self, at: u64, operation: OperationId, endpoint: Endpoint) -> Verdict {
        self.0.on_read(at, operation, endpoint)
    }

    fn on_read_refused(&mut self, at: u64, operation: OperationId) {
        self.0.on_read_refused(at, operation);
    }

    fn on_applied(&mut self, endpoint: Endpoint, applied: &Applied) -> Verdict {
        self.0.on_applied(endpoint, applied)
    }

    fn audit(&mut self, endpoint: Endpoint) -> Verdict {
        self.0.audit(endpoint)
    }

    fn applied(&self) -> u64 {
        self.0.applied()
    }
}
