use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{sync::Barrier, time::Duration};

use proptest::prelude::*;

use super::*;

/// Waits until all helpers of a team have arrived.
fn ready(team: &Team) {
    let Some(owner) = &team.owner else { return };
    while owner.0.present() < team.size() {
        std::thread::yield_now();
    }
}

#[test]
fn every_tile_runs_once_and_members_do_not_meet() {
    for size in 1..=4 {
        let team = Team::spawn(size);
        ready(&team);
        let members: Vec<AtomicUsize> = (0..size).map(|_| AtomicUsize::new(0)).collect();
        for tiles in [0, 1, 2, 3, 17, 1000, 70_000] {
            let counts: Vec<AtomicUsize> = (0..tiles).map(|_| AtomicUsize::new(0)).collect();
            team.run(tiles, &|tile, member| {
                assert_eq!(members[member].fetch_add(1, Relaxed), 0);
                counts[tile].fetch_add(1, Relaxed);
                members[member].fetch_sub(1, Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Relaxed) == 1));
        }
    }
}

#[test]
fn threads_do_work_at_once() {
    let team = Team::spawn(3);
    ready(&team);
    let all = Barrier::new(3);
    team.run(3, &|_, _| {
        all.wait();
    });
}

#[test]
fn helpers_that_sleep_wake_up_again() {
    let team = Team::spawn(2);
    ready(&team);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(30));
        let helped = AtomicUsize::new(0);
        for _ in 0..1000 {
            team.run(2, &|_, member| {
                helped.fetch_add(member, Relaxed);
                std::thread::sleep(Duration::from_micros(100));
            });
            if helped.load(Relaxed) > 0 {
                break;
            }
        }
        assert!(helped.load(Relaxed) > 0);
    }
}

#[test]
fn without_helpers_the_caller_does_everything() {
    let team = Team::of_pool(Arc::new(Pool::new(4, milliseconds)));
    let count = AtomicUsize::new(0);
    team.run(10, &|_, member| {
        count.fetch_add(1 + 100 * member, Relaxed);
    });
    assert_eq!(count.load(Relaxed), 10);
}

#[test]
fn helpers_are_left_out_for_as_long_as_one_says() {
    let team = Team::spawn(2);
    ready(&team);
    let helped = AtomicUsize::new(0);
    let work = |_, member| {
        helped.fetch_add(member, Relaxed);
        std::thread::sleep(Duration::from_micros(100));
    };
    team.leave_out_helpers(true);
    (0..20).for_each(|_| team.run(4, &work));
    assert_eq!(helped.load(Relaxed), 0);
    team.leave_out_helpers(false);
    for _ in 0..1000 {
        team.run(4, &work);
        if helped.load(Relaxed) > 0 {
            return;
        }
    }
    panic!("no helper came back");
}

#[test]
fn a_job_within_a_job_runs_alone() {
    let team = Team::spawn(2);
    ready(&team);
    let count = AtomicUsize::new(0);
    team.run(4, &|_, _| {
        team.run(4, &|_, member| {
            assert_eq!(member, 0);
            count.fetch_add(1, Relaxed);
        });
    });
    assert_eq!(count.load(Relaxed), 16);
}

#[test]
fn a_panic_reaches_the_caller_after_all_tiles_have_ended() {
    let team = Team::spawn(3);
    ready(&team);
    let running = AtomicUsize::new(0);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        team.run(50, &|tile, _| {
            running.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_micros(50));
            running.fetch_sub(1, Relaxed);
            assert!(tile != 20);
        });
    }));
    assert!(result.is_err());
    assert_eq!(running.load(Relaxed), 0);
}

#[test]
fn members_have_scratch_space_of_their_own() {
    let team = Team::spawn(4);
    ready(&team);
    let mut scratch = crate::tensor::AlignedBytes::zeroed(4 * 128);
    // SAFETY: the buffer is this call's alone.
    let crew = unsafe { Crew::new(&team, Region::of_mut(&mut scratch)) };
    crew.run(500, &|tile, own| {
        assert_eq!(own.len(), 128);
        own.fill(tile as u8);
        std::thread::yield_now();
        assert!(own.iter().all(|b| *b == tile as u8));
        Ok(())
    })
    .unwrap();
    let error = crew.run(5, &|tile, _| if tile == 3 { Err(crate::Error::Internal("three".into())) } else { Ok(()) });
    assert_eq!(error.unwrap_err().to_string(), crate::Error::Internal("three".into()).to_string());
}

proptest! {
    #[test]
    fn parts_are_disjoint_and_complete(units in 0usize..100_000, tiles in 1usize..100) {
        let mut end = 0;
        for tile in 0..tiles {
            let part = part(units, tile, tiles);
            prop_assert_eq!(part.start, end);
            prop_assert!(part.len() <= units / tiles + 1);
            end = part.end;
        }
        prop_assert_eq!(end, units);
    }
}

#[test]
fn members_get_the_same_number_of_parts() {
    let team = &Team::spawn(3);
    assert_eq!([1, 3, 4, 11, 12, 13].map(|parts| super::even(team, parts, 100)), [3, 3, 6, 12, 12, 13]);
    assert_eq!([super::even(team, 4, 5), super::even(team, 4, 2), super::even(&Team::ALONE, 7, 100)], [5, 4, 7]);
}
