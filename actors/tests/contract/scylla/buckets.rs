//! Long logs.

use std::time::{Duration, Instant};

use chinwag_actors::ports::message_store::{Appended, Direction, Filter, MessageStore};
use chinwag_schema::ids::{ConversationId, Seq, UserId};
use uuid::{NoContext, Timestamp, Uuid};

use super::{messages, with};
use crate::suite::{Log, NOW_MS, message, new};

const ONE: ConversationId = ConversationId(1);

#[tokio::test]
async fn the_first_and_the_last_page_of_a_long_log_cost_the_same() {
    const EVENTS: u64 = 100_000;
    let stored = with(|options| options.bucket_events = 1_000).await;
    let mut short = Log::new(&stored.store, 2);
    short.append((1..=60).map(|n| message(n, 1, None, "text")).collect()).await;
    let mut log = Log::new(&stored.store, ONE.0);
    for group in 0..EVENTS / 500 {
        let ids = group * 500 + 1..=(group + 1) * 500;
        log.append(ids.map(|id| message(id as i64, 1 + id as i64 % 7, None, "text")).collect()).await;
    }
    let store = &stored.store;
    let page = |of: i64, direction| store.page(ConversationId(of), direction, 50, Filter::All);
    let (first, last) = (Direction::After(Seq::ZERO), Direction::Before(Seq(u64::MAX)));
    assert_eq!(page(1, first).await.unwrap().events[0].seq, Seq(1));
    assert_eq!(page(1, last).await.unwrap().events[49].seq, Seq(EVENTS));
    assert_eq!(store.totals_at(ONE, UserId(3), Seq(EVENTS / 2)).await.unwrap().0, EVENTS / 2);
    // The least of many: whatever else runs here only adds to a time.
    let mut least = [Duration::MAX; 4];
    for _ in 0..40 {
        for (least, (of, direction)) in least.iter_mut().zip([(2, first), (2, last), (1, first), (1, last)]) {
            let begun = Instant::now();
            page(of, direction).await.unwrap();
            *least = (*least).min(begun.elapsed());
        }
    }
    println!("a log of 60: first {:?}, last {:?}; of 100,000: {:?}, {:?}", least[0], least[1], least[2], least[3]);
    let allowed = |short: Duration| short * 2 + Duration::from_millis(2);
    assert!(least[2] < allowed(least[0]) && least[3] < allowed(least[1]), "{least:?}");
}

#[tokio::test]
async fn ids_are_looked_for_since_ten_minutes_before_their_own_time() {
    let stored = messages().await;
    let mut log = Log::new(&stored.store, ONE.0);
    let id_at = |ms: i64| {
        let at = Timestamp::from_unix(NoContext, (ms / 1000) as u64, (ms % 1000) as u32 * 1_000_000);
        Uuid::new_v7(at).as_u128()
    };
    // Of a client nine minutes ahead, and of one that sends an hour late.
    let (ahead, late) = (id_at(NOW_MS + 540_000), id_at(NOW_MS - 3_600_000));
    log.append(vec![message(10, 1, Some(ahead), "ahead"), message(20, 1, Some(late), "late")]).await;
    // Three buckets later, in a part of which the sender is.
    for n in 0..18 {
        log.append_one(message(100 + n * 60_000, 1 + n % 3, Some(id_at(NOW_MS + n * 60_000)), "text")).await;
    }
    let node = stored.node().await;
    for store in [&stored.store, &node] {
        let mut log = Log::new(store, ONE.0);
        log.head = Seq(20);
        for (n, (id, text)) in [(ahead, "ahead"), (late, "late")].into_iter().enumerate() {
            let again = log.append_one(message(2_000_000 + n as i64, 1, Some(id), text)).await;
            let Appended::Duplicate { event, same_body: true } = again else { panic!("{again:?}") };
            assert_eq!(event.seq.0, n as u64 + 1);
        }
    }
}

#[tokio::test]
async fn long_texts_are_divided_into_batches_that_servers_take() {
    let stored = messages().await;
    let mut log = Log::new(&stored.store, ONE.0);
    let text = "x".repeat(16 * 1024);
    let appended = log.append((1..=200).map(|n| message(n, 1, Some(n as u128), &text)).collect()).await;
    assert_eq!(new(appended[199].clone()).seq, Seq(200));
    assert_eq!(log.everything().await.len(), 200);
}
