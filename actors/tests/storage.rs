//! The storage actors before a store that fails.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use chinwag_actors::{breaker::BreakerState, ports::StoreError};
use chinwag_schema::limits::storage::READS_IN_FLIGHT_MAX;
use common::{Engine, run};
use futures_util::future::join_all;

#[test]
fn what_waits_is_given_up_when_the_breaker_opens() {
    run(async || {
        let engine = Engine::start().await;
        let tried = Arc::<AtomicUsize>::default();
        let fail = || {
            let tried = tried.clone();
            async move {
                tried.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err::<(), _>(StoreError::Unavailable("on purpose".into()))
            }
        };
        let calls = (0..READS_IN_FLIGHT_MAX + 20).map(|_| {
            let failing = fail();
            engine.node.accounts.call("users", move |_| failing)
        });
        assert!(join_all(calls).await.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))));
        // The fifth failure opens it; four made room for others before.
        assert!((READS_IN_FLIGHT_MAX..=READS_IN_FLIGHT_MAX + 4).contains(&tried.swap(0, Relaxed)));
        assert_eq!(engine.node.account_breaker.state(), BreakerState::Open);

        let calls = (0..READS_IN_FLIGHT_MAX + 20).map(|_| {
            let failing = fail();
            engine.node.messages.call("heads", move |_| failing)
        });
        assert!(join_all(calls).await.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))));
        assert!((READS_IN_FLIGHT_MAX..=READS_IN_FLIGHT_MAX + 4).contains(&tried.load(Relaxed)));
        // Writing goes on.
        engine.account("ann").await;
    });
}
