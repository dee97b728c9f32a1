//! The same futures on any executor, and threads among them.

use lockwright_local::*;
use std::{sync::Arc, thread, time::Duration};

/// Three who add to what only one may touch at a time, and yield within.
async fn add(locks: LocalLocks, sum: Arc<std::sync::Mutex<u64>>) {
    for _ in 0..50 {
        let _guard = locks.lock([write("sum"), read("config")]).await.unwrap();
        let before = *sum.lock().unwrap();
        yield_once().await;
        *sum.lock().unwrap() = before + 1;
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn setting() -> (LocalLocks, Arc<std::sync::Mutex<u64>>) {
    (LocalLocks::new(), Arc::default())
}

#[test]
fn futures_executor() {
    let (locks, sum) = setting();
    let all = (0..3).map(|_| add(locks.clone(), Arc::clone(&sum)));
    futures::executor::block_on(futures::future::join_all(all));
    assert_eq!(*sum.lock().unwrap(), 150);
    assert!(locks.usage().is_zero());
}

#[test]
fn pollster_in_threads() {
    let (locks, sum) = setting();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pollster::block_on(add(locks.clone(), Arc::clone(&sum))));
        }
    });
    assert_eq!(*sum.lock().unwrap(), 150);
}

#[test]
fn tokio_on_one_thread_and_on_many() {
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut many = tokio::runtime::Builder::new_multi_thread();
    for builder in [&mut one, many.worker_threads(2)] {
        let (locks, sum) = setting();
        builder.build().unwrap().block_on(async {
            let all: Vec<_> = (0..3)
                .map(|_| tokio::spawn(add(locks.clone(), Arc::clone(&sum))))
                .collect();
            for task in all {
                task.await.unwrap();
            }
        });
        assert_eq!(*sum.lock().unwrap(), 150);
    }
}

#[test]
fn an_aborted_task_leaves_the_queue_and_releases_what_it_holds() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let locks = LocalLocks::new();
    let take = |claims: Claims| {
        let locks = locks.clone();
        runtime.spawn(async move {
            let _guard = locks.lock(claims).await.unwrap();
            std::future::pending::<()>().await;
        })
    };
    let arrived = |requests| {
        while locks.usage().live_requests < requests {
            thread::yield_now();
        }
    };
    let holder = take(write("a"));
    arrived(1);
    let queued = take(write("a").and(write("b")));
    arrived(2);
    queued.abort();
    drop(locks.lock_blocking(write("b")).unwrap());
    holder.abort();
    drop(locks.lock_blocking(write("a")).unwrap());
}

#[test]
fn leases_and_time_outs_need_no_runtimes_timer() {
    let locks = LocalLocks::new();
    futures::executor::block_on(async {
        let ttl = Duration::from_millis(300);
        let guard = locks.request(write("a")).ttl(ttl).await.unwrap();
        let refused = locks.lock_timeout(write("a"), ttl / 10).await;
        assert!(matches!(refused, Err(LockError::TimedOut { .. })));
        drop(locks.lock(write("a")).await.unwrap());
        assert_eq!(guard.lost().await, EndReason::Expired);
    });
}
