//! Every family of worlds by itself: a seed of the ordinary swarm draws the rarer ones a few times in a hundred only.

use slimcluster_sim::swarm::Profile;
use slimcluster_sim::{RunOptions, run_seeds};

#[test]
fn every_profile_holds() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    for (profile, name, _) in Profile::ALL {
        let options = RunOptions { profile: Some(*profile), ..RunOptions::default() };
        let (reports, failures) = run_seeds(0..seeds, threads, options, true);
        if let Some(failure) = failures.first() {
            panic!("profile {name}\n{failure}");
        }
        assert_eq!(reports.len() as u64, seeds, "profile {name}");
    }
}
