//! Clusters of 3 to 50 in virtual time: who is there is known everywhere, nobody is accused without a reason, and what was torn apart heals.

mod swim_support;

use std::time::Duration;

use slimcluster_core::swim::{Event, Input, MemberState, Meta, Options};
use slimcluster_core::{Generation, Instant, NodeId};
use swim_support::{Net, address};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn settled(seed: u64, n: u128) -> Net {
    let mut net = Net::cluster(seed, n);
    net.run_until(secs(30), Net::is_settled);
    net
}

fn is_accusation(event: &Event) -> bool {
    matches!(event, Event::Suspected(_) | Event::Failed(_))
}

#[test]
fn all_find_each_other_by_one_seed() {
    for n in [2, 3, 5, 10, 50] {
        let time = Net::cluster(1, n).run_until(secs(30), Net::is_settled);
        assert!(time < secs(10), "{n} members took {time:?}");
    }
}

#[test]
fn three_with_all_seeds_find_each_other_at_once() {
    for seed in 0..50 {
        let mut net = Net::new(seed);
        let seeds: Vec<_> = (1..=3).map(address).collect();
        for id in 1..=3 {
            net.start(id, address(id), seeds.clone());
            net.run_for(Duration::from_millis(300));
        }
        assert!(net.run_until(secs(5), Net::is_settled) < secs(2));
    }
}

#[test]
fn nobody_is_accused_without_faults() {
    for seed in 0..5 {
        let mut net = settled(seed, 20);
        net.events.clear();
        net.run_for(secs(600));
        assert_eq!(net.events, []);
        assert!(net.is_settled());
    }
}

#[test]
fn ten_percent_loss_declares_nobody_dead() {
    for seed in 0..8 {
        for n in [3, 20] {
            let mut net = settled(seed, n);
            net.loss = 100;
            net.run_for(secs(300));
            let failed = net.events.iter().filter(|(_, _, event)| matches!(event, Event::Failed(_))).count();
            assert_eq!(failed, 0, "seed {seed}, {n} members");
        }
    }
}

#[test]
fn idle_members_send_two_datagrams_a_second() {
    let mut net = settled(3, 20);
    net.run_for(secs(60));
    net.sent = 0;
    net.run_for(secs(300));
    let rate = net.sent as f64 / (300.0 * 20.0);
    assert!(rate < 2.2, "{rate}");
}

#[test]
fn a_crash_becomes_known_everywhere() {
    for seed in 0..6 {
        for n in [2, 3, 10, 50] {
            let mut net = settled(seed, n);
            net.run_for(secs(5));
            net.events.clear();
            net.crash(n);
            // A probe within 2n - 1 intervals somewhere, the suspicion time, and the news of it.
            let time = net.run_until(secs(60), |net| {
                net.running().all(|id| net.member(id, n).is_some_and(|member| member.state == MemberState::Dead))
            });
            assert!(time < secs(15), "seed {seed}, {n} members: {time:?}");
            let accused = net.events.iter().filter(|(_, _, event)| is_accusation(event));
            for (_, _, event) in accused {
                assert!(matches!(event, Event::Suspected(m) | Event::Failed(m) if m.id == NodeId(n)), "{event:?}");
            }
        }
    }
}

#[test]
fn a_stall_accuses_nobody() {
    for seed in 0..10 {
        let mut net = settled(seed, 8);
        net.run_for(secs(10));
        net.events.clear();
        net.stall(1, secs(3));
        net.run_for(secs(30));
        for (_, at, event) in &net.events {
            // The others may suspect the one that stood still. It refutes, and accuses nobody when it wakes.
            let about_stalled = matches!(event, Event::Suspected(m) | Event::StatusChanged(m) if m.id == NodeId(1));
            assert!(*at != 1 && about_stalled, "seed {seed}, n{at}: {event:?}");
        }
        assert!(net.is_settled());
    }
}

#[test]
fn a_partition_heals_by_itself() {
    for seed in 0..5 {
        for (n, left) in [(3, 1), (6, 3), (20, 10), (20, 1)] {
            let mut net = settled(seed, n);
            let (left, right): (Vec<u128>, Vec<u128>) = (1..=n).partition(|id| *id <= left);
            net.cut_between(&left, &right);
            net.run_for(secs(120));
            for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
                assert_eq!(net.member(a, b).unwrap().state, MemberState::Dead, "{b} at {a}");
            }
            net.cut.clear();
            net.events.clear();
            let time = net.run_until(secs(120), Net::is_settled);
            assert!(time < secs(30), "seed {seed}, {n} members: {time:?}");
            net.run_for(secs(60));
            // Healing fails nobody: not even those who were dead on the other side a moment ago.
            assert!(!net.events.iter().any(|(_, _, event)| matches!(event, Event::Failed(_))), "{:?}", net.events);
            assert!(net.is_settled());
        }
    }
}

#[test]
fn a_restart_at_another_address_is_seen_everywhere() {
    for seed in 0..10 {
        let mut net = settled(seed, 5);
        net.crash(5);
        net.run_for(secs(2));
        net.restart(5, address(77));
        let at_new_address = |net: &Net| net.running().all(|id| net.member(id, 5).unwrap().address == address(77));
        net.run_until(secs(10), |net| net.is_settled() && at_new_address(net));
    }
}

#[test]
fn all_restart_at_once_with_new_addresses() {
    for seed in 0..10 {
        let mut net = settled(seed, 10);
        for id in 1..=10 {
            net.crash(id);
        }
        net.run_for(secs(1));
        for id in 1..=10 {
            let seeds = vec![address(101), address(102)];
            net.start(id, address(100 + id), seeds);
        }
        assert!(net.run_until(secs(20), Net::is_settled) < secs(10));
    }
}

#[test]
fn a_lost_generation_is_learned_and_exceeded() {
    let mut net = settled(1, 4);
    net.crash(4);
    net.restart(4, address(4));
    net.run_until(secs(20), Net::is_settled);
    assert_eq!(net.nodes[&4].swim.generation(), Generation(2));
    // Its disk is gone, not its id: it begins with generation 1 again, which the others know to be over.
    net.crash(4);
    net.run_for(secs(1));
    net.start_as(4, address(4), vec![address(1)], 1);
    net.run_until(secs(20), |net| net.is_settled() && net.nodes[&4].swim.generation() > Generation(2));
}

#[test]
fn one_that_left_may_come_back() {
    let mut net = settled(2, 4);
    net.input(4, Input::Leave);
    net.run_until(secs(1), |net| net.nodes[&4].goodbye_acknowledged);
    net.crash(4);
    net.run_until(secs(5), |net| (1..=3).all(|id| net.member(id, 4).unwrap().state == MemberState::Left));
    assert!(!net.events.iter().any(|(_, _, event)| is_accusation(event)));
    net.run_for(secs(30));
    // Even with the generation in which it left.
    net.start_as(4, address(4), vec![address(2)], 1);
    net.run_until(secs(20), Net::is_settled);
}

#[test]
fn meta_reaches_everybody() {
    let mut net = settled(4, 20);
    let meta = Meta { http: Some("example.org:80".into()), consensus: false };
    net.input(7, Input::SetMeta(meta.clone()));
    net.run_until(secs(10), |net| net.running().all(|id| net.member(id, 7).unwrap().meta == meta));
    assert!(!net.events.iter().any(|(_, _, event)| is_accusation(event)));
}

#[test]
fn an_isolated_node_gives_the_others_up_late_and_by_itself() {
    let mut net = settled(5, 10);
    net.run_for(secs(10));
    net.cut_between(&[1], &(2..=10).collect::<Vec<_>>());
    net.events.clear();
    // Four times the usual time, and it has given up nobody.
    net.run_for(secs(20));
    let failed = net.events.iter().filter(|(_, at, event)| *at == 1 && matches!(event, Event::Failed(_))).count();
    assert_eq!(failed, 0);
    net.run_for(secs(60));
    assert_eq!(net.present(1), [1]);
    net.cut.clear();
    net.run_until(secs(60), Net::is_settled);
}

#[test]
fn an_isolated_node_accuses_nobody_when_it_is_back() {
    // Shorter and longer than a suspicion, than the longest suspicion; others that it hears and that do not hear it.
    for (seed, n, away, one_way) in [
        (1, 5, 4, false),
        (2, 9, 8, false),
        (3, 40, 8, true),
        (4, 40, 20, false),
        (5, 20, 60, true),
        (6, 40, 90, false),
    ] {
        let mut net = settled(seed, n);
        net.run_for(secs(10));
        net.events.clear();
        net.cut_between(&[1], &(2..=n).collect::<Vec<_>>());
        if one_way {
            net.cut.retain(|(from, _)| *from == 1);
        }
        net.run_for(secs(away));
        net.cut.clear();
        let given_up = net.events.len();
        net.run_until(secs(60), Net::is_settled);
        net.run_for(secs(30));
        let is_wrong = |(number, (_, at, event)): (usize, &(Instant, u128, Event))| {
            // The others may take it for dead, and it may give them up for itself while it is away.
            matches!(event, Event::Failed(member) if member.id != NodeId(1) && (*at != 1 || number >= given_up))
        };
        let wrong = net.events.iter().enumerate().find(|event| is_wrong(*event));
        assert_eq!(wrong, None, "{n} members, away for {away} s");
    }
}

#[test]
fn who_missed_the_announcement_of_a_restart_hears_of_it_with_the_suspicion() {
    for seed in 1..=50 {
        let mut net = settled(seed, 8);
        net.run_for(secs(5));
        net.events.clear();
        // The last to hear: by the time it can hear again, nobody passes the announcement on any more.
        net.cut_between(&[1], &(2..=8).collect::<Vec<_>>());
        net.input(8, Input::Restarting { for_: secs(60) });
        net.run_for(Duration::from_millis(100));
        net.crash(8);
        net.run_for(secs(6));
        net.cut.clear();
        net.run_for(secs(20));
        let is_wrong =
            |(_, _, event): &&(Instant, u128, Event)| matches!(event, Event::Failed(member) if member.id == NodeId(8));
        assert_eq!(net.events.iter().find(is_wrong), None, "seed {seed}");
    }
}

#[test]
fn an_announcement_is_enough_to_join() {
    let mut net = Net::new(6);
    for id in 1..=3 {
        net.start(id, address(id), Vec::new());
    }
    net.run_for(secs(1));
    for _ in 0..100 {
        // Own announcements come back on the group; announcements of members cost nothing.
        for (at, of) in [(1, 1), (1, 2), (2, 3), (3, 1)] {
            net.input(at, Input::Announced(address(of)));
        }
        net.run_for(Duration::from_millis(100));
    }
    assert!(net.is_settled());
    net.sent = 0;
    for _ in 0..100 {
        net.input(1, Input::Announced(address(2)));
    }
    assert_eq!(net.sent, 0);
}

#[test]
fn fifty_with_long_names_fill_datagrams_to_the_limit_and_not_beyond() {
    let mut net = Net::cluster(7, 50);
    net.run_until(secs(30), Net::is_settled);
    // The network asserts that none is longer.
    assert!(net.longest > 1_100, "{}", net.longest);
}

#[test]
fn other_presets_work() {
    for options in [Options::wan(), Options::local()] {
        let mut net = Net::new(8);
        net.options = options;
        for id in 1..=5 {
            net.start(id, address(id), vec![address(1)]);
        }
        net.run_until(secs(60), Net::is_settled);
        net.crash(3);
        net.run_until(secs(120), Net::is_settled);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let mut net = Net::cluster(9, 12);
        net.trace = true;
        net.loss = 50;
        net.run_for(secs(20));
        net.crash(3);
        net.run_for(secs(20));
        net.lines
    };
    assert_eq!(trace(), trace());
}
