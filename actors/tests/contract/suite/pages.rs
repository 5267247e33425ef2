//! Reading the log.

use chinwag_actors::ports::message_store::{Direction, Filter, MessageStore, NewBody, Page};
use chinwag_schema::ids::{ConversationId, EventId, Seq};

use super::{Log, message, new_event};

fn seqs(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq.0).collect()
}

pub async fn pages_forward_and_backward_are_ascending_and_say_when_complete(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append((1..=10).map(|n| message(n * 10, 1, None, "text")).collect()).await;
    let page = |direction, limit| store.page(ConversationId(1), direction, limit, Filter::All);
    for (direction, limit, expected, complete) in [
        (Direction::After(Seq(0)), 4, vec![1, 2, 3, 4], false),
        (Direction::After(Seq(4)), 4, vec![5, 6, 7, 8], false),
        (Direction::After(Seq(6)), 4, vec![7, 8, 9, 10], true),
        (Direction::After(Seq(8)), 4, vec![9, 10], true),
        (Direction::After(Seq(10)), 4, vec![], true),
        (Direction::After(Seq(u64::MAX)), 4, vec![], true),
        (Direction::Before(Seq(u64::MAX)), 4, vec![7, 8, 9, 10], false),
        (Direction::Before(Seq(11)), 10, vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10], true),
        (Direction::Before(Seq(7)), 4, vec![3, 4, 5, 6], false),
        (Direction::Before(Seq(5)), 4, vec![1, 2, 3, 4], true),
        (Direction::Before(Seq(1)), 4, vec![], true),
        (Direction::Before(Seq(0)), 4, vec![], true),
    ] {
        let found = page(direction, limit).await.unwrap();
        assert_eq!((seqs(&found), found.complete), (expected, complete), "{direction:?}");
        assert_eq!(found.oldest_seq, Seq(1));
    }
    let nothing = store.page(ConversationId(99), Direction::After(Seq(0)), 5, Filter::All).await.unwrap();
    assert_eq!(nothing, Page { events: vec![], complete: true, oldest_seq: Seq(1), targets: vec![] });
}

pub async fn pages_of_messages_skip_the_rest(store: &impl MessageStore) {
    let mut log = Log::new(store, 1);
    log.append(vec![
        new_event(10, 1, NewBody::Joined),
        message(20, 1, None, "a"),
        new_event(30, 2, NewBody::Joined),
        message(40, 2, None, "b"),
        new_event(50, 2, NewBody::Edited { target_seq: Seq(4), content: "B".into() }),
        message(60, 1, None, "c"),
        new_event(70, 1, NewBody::Deleted { target_seq: Seq(2) }),
        new_event(80, 1, NewBody::Left),
    ])
    .await;
    let page = |direction, limit| store.page(ConversationId(1), direction, limit, Filter::Messages);
    for (direction, limit, expected, complete) in [
        (Direction::Before(Seq(u64::MAX)), 2, vec![4, 6], false),
        (Direction::Before(Seq(4)), 2, vec![2], true),
        (Direction::Before(Seq(2)), 2, vec![], true),
        (Direction::After(Seq(0)), 3, vec![2, 4, 6], true),
        (Direction::After(Seq(2)), 1, vec![4], false),
        (Direction::After(Seq(6)), 1, vec![], true),
    ] {
        let found = page(direction, limit).await.unwrap();
        assert_eq!((seqs(&found), found.complete), (expected, complete), "{direction:?}");
    }
}

pub async fn pages_of_one_conversation_show_nothing_of_its_neighbours(store: &impl MessageStore) {
    for conversation in [4, 5, 6] {
        let mut log = Log::new(store, conversation);
        log.append((1..=3).map(|n| message(n * 10 + conversation, 1, None, "text")).collect()).await;
    }
    for direction in [Direction::After(Seq(0)), Direction::Before(Seq(u64::MAX))] {
        let page = store.page(ConversationId(5), direction, 100, Filter::All).await.unwrap();
        assert_eq!(page.events.iter().map(|event| event.id.0).collect::<Vec<_>>(), [15, 25, 35]);
    }
}

pub async fn events_are_found_by_id(store: &impl MessageStore) {
    for count in [1, 2, 7, 64] {
        let mut log = Log::new(store, count);
        log.append((1..=count).map(|n| message(n * 10, 1, None, "text")).collect()).await;
        for n in 1..=count {
            let found = store.find(ConversationId(count), EventId(n * 10)).await.unwrap().unwrap();
            assert_eq!(found.seq.0, n as u64);
            for absent in [n * 10 - 1, n * 10 + 1] {
                assert_eq!(store.find(ConversationId(count), EventId(absent)).await.unwrap(), None);
            }
        }
        assert_eq!(store.find(ConversationId(count), EventId(i64::MAX)).await.unwrap(), None);
    }
}
