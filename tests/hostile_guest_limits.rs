//! A guest gone wrong ends at a limit: of time, memory, depth, handles or the size of its answers.
#![expect(clippy::print_stdout, reason = "the figures are what is asked for")]

use std::process::Command;
use std::time::Duration;

use keyref::error::Class;
use keyref::{Context, Document, Limits};
use keyref_tests::hostile_guest::{
    among_neighbours, builder, honest, names, quick, refusal, refusal_with, resolve,
};
use keyref_tests::library::{block_on, longest_hold, shortest};
use keyref_tests::status;
use tokio::time::Instant;

#[test]
fn a_loop_ends_within_the_time_limit() {
    // Once with its neighbours, and once alone.
    for misbehaviour in ["loop", "loop-in-resolve"] {
        ends_within_the_time_limit(misbehaviour);
    }
}

#[test]
fn waiting_ends_within_the_time_limit() {
    for misbehaviour in ["block", "poll"] {
        ends_within_the_time_limit(misbehaviour);
    }
}

fn ends_within_the_time_limit(misbehaviour: &str) {
    let limit = Duration::from_millis(900);
    let elapsed = shortest(limit, || {
        let begin = Instant::now();
        let problem = refusal_with(builder().limits(quick()), misbehaviour);
        let elapsed = begin.elapsed();
        assert_eq!(problem.class, Class::DocumentLimit, "{misbehaviour}");
        let message = &problem.message;
        assert!(message.contains("time"), "{misbehaviour}: {message}");
        elapsed
    });
    assert!(elapsed < limit, "{misbehaviour}: {elapsed:?}");
}

#[test]
fn waiting_ends_when_the_call_is_cancelled() {
    let resolver = builder().build().unwrap();
    let cancelled = || {
        block_on(async {
            let mut calls = tokio::task::JoinSet::new();
            // As many as can be at work at a time.
            for _ in 0..128 {
                let resolver = resolver.clone();
                calls.spawn(async move {
                    let documents = among_neighbours("block");
                    resolver.resolve(documents, &Context::new()).await
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(calls);
            let begin = Instant::now();
            let documents = vec![honest("next", "vault/redis/user")];
            let next = resolver.resolve(documents, &Context::new()).await;
            assert_eq!(names(&next), ["next"], "{:?}", next.problems);
            begin.elapsed()
        })
    };
    let limit = Duration::from_millis(500);
    let elapsed = shortest(limit, cancelled);
    assert!(elapsed < limit, "{elapsed:?}");
}

#[test]
fn a_guest_that_waits_a_moment_is_served() {
    let resolution = resolve(&builder().build().unwrap(), among_neighbours("sleep"));
    assert_eq!(
        names(&resolution),
        ["before", "sleep", "after"],
        "{:?}",
        resolution.problems
    );
}

#[test]
fn what_a_guest_may_wait_for_is_bounded() {
    // The host refuses the next one, long before the limit on time.
    assert_eq!(refusal("subscribe").class, Class::Internal);
}

#[test]
fn a_loop_does_not_hold_the_callers_thread() {
    let resolver = builder().limits(quick()).build().unwrap();
    let context = Context::new();
    let longest = longest_hold(async || resolver.resolve(among_neighbours("loop"), &context).await);
    assert!(
        longest < Duration::from_millis(100),
        "nothing else ran for {longest:?}"
    );
}

#[test]
fn waiting_for_a_turn_ends_at_the_deadline() {
    let resolver = builder().build().unwrap();
    let late = block_on(async {
        // More than can be at work at a time.
        let loops = [(); 128].map(|()| {
            let resolver = resolver.clone();
            let work = async move {
                resolver
                    .resolve(among_neighbours("loop"), &Context::new())
                    .await
            };
            tokio::spawn(work)
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let hurried = Context::new().with_timeout(Duration::from_millis(50));
        let documents = vec![honest("late", "vault/redis/user")];
        let late = resolver.resolve(documents, &hurried).await;
        assert!(loops.iter().all(|task| !task.is_finished()));
        late
    });
    assert_eq!(names(&late), Vec::<&str>::new());
    let [problem] = late.problems.as_slice() else {
        panic!("{:?}", late.problems);
    };
    assert_eq!(problem.class, Class::TimedOut);
    assert!(problem.message.contains("deadline"), "{}", problem.message);
}

#[test]
fn documents_that_all_loop_end_together() {
    let resolver = builder().build().unwrap();
    let documents = || (0..2_000).map(|index| Document::new(format!("{index}"), "#loop"));
    let run = || {
        let begin = Instant::now();
        let resolution = resolve(&resolver, documents().collect());
        assert_eq!(resolution.problems.len(), 2_000);
        begin.elapsed()
    };
    let limit = Duration::from_secs(2);
    let elapsed = shortest(limit, run);
    println!("2000 documents that loop take {elapsed:?}");
    assert!(elapsed < limit, "three times more than {limit:?}");
}

#[test]
fn endless_requests_end_at_a_limit() {
    for misbehaviour in ["endless-get-many", "huge-get-many"] {
        let mut limits = Limits::default();
        limits.handles = 10_000;
        let problem = refusal_with(builder().limits(limits), misbehaviour);
        assert_eq!(problem.class, Class::DocumentLimit, "{misbehaviour}");
        let limits = ["handles", "the size of an answer"];
        assert!(
            limits.iter().any(|limit| problem.message.contains(limit)),
            "{misbehaviour}: {}",
            problem.message
        );
    }
}

#[test]
fn endless_recursion_ends_at_the_limit_on_depth() {
    let problem = refusal("recurse");
    assert_eq!(problem.class, Class::DocumentLimit);
    assert!(problem.message.contains("depth"), "{}", problem.message);
}

#[test]
fn endless_growth_ends_at_the_limit_on_memory() {
    let problem = refusal("grow-memory");
    assert_eq!(problem.class, Class::DocumentLimit);
    assert!(problem.message.contains("memory"), "{}", problem.message);
}

#[test]
fn an_endless_answer_ends_at_a_limit() {
    let problem = refusal("endless-answer");
    assert_eq!(problem.class, Class::DocumentLimit, "{}", problem.message);
}

#[test]
fn resolvers_that_share_a_guest_do_not_take_its_instances_from_each_other() {
    let documents = |name: &str| {
        let documents =
            (0..18_000).map(|index| honest(&format!("{name}{index}"), "vault/redis/user"));
        documents.collect::<Vec<_>>()
    };
    let (one, two) = (builder().build().unwrap(), builder().build().unwrap());
    let context = Context::new();
    let (first, second) = block_on(async {
        tokio::join!(
            one.resolve(documents("a"), &context),
            two.resolve(documents("b"), &context)
        )
    });
    for resolution in [first, second] {
        assert!(
            resolution.is_complete(),
            "{:?}",
            resolution.problems.first()
        );
        assert_eq!(resolution.components.len(), 18_000);
    }
}

/// What the answers of a hostile guest cost, in a process of its own.
#[test]
fn huge_answers_take_bounded_memory() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "many_documents_with_huge_answers",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}");
    let peak = output
        .lines()
        .find_map(|line| line.split_once("peak ")?.1.parse::<u64>().ok());
    let mebibytes = peak.unwrap() / 1024;
    println!("{mebibytes} MiB for the answers to 24 documents");
    assert!(mebibytes < 256, "{mebibytes} MiB");
}

#[test]
#[ignore = "run by `huge_answers_take_bounded_memory` in a process of its own"]
fn many_documents_with_huge_answers() {
    // Memory is what is measured: time is no matter, whatever else the machine does.
    let mut limits = Limits::default();
    limits.time = Duration::from_secs(10);
    let resolver = builder().limits(limits).build().unwrap();
    resolve(&resolver, vec![honest("warm", "vault/redis/user")]);
    // Each in a batch of its own.
    let filler = "\n".repeat(600 << 10);
    let mut documents: Vec<_> = (0..24)
        .map(|index| Document::new("hostile", format!("#huge-answer h{index}{filler}")))
        .collect();
    documents.push(honest("after", "vault/redis/password"));
    let before = status("VmRSS:");
    let resolution = resolve(&resolver, documents);
    println!("peak {}", status("VmHWM:").saturating_sub(before));
    assert!(
        names(&resolution).contains(&"after"),
        "{:?}",
        resolution.problems.last()
    );
}
