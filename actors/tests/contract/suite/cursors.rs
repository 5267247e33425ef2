//! Cursors: cumulative pointers that only move forward.

use chinwag_actors::ports::account_store::AccountStore;
use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    model::{ConversationKind, Cursor, Mark, MemberState},
};

use super::accounts::{conversation, member, some_users};

const GROUP: ConversationId = ConversationId(1);

fn mark(seq: u64) -> Mark {
    Mark { seq: Seq(seq), messages: seq * 2, own: seq / 2 }
}

async fn group_of_three(store: &impl AccountStore) {
    some_users(store, 4).await;
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    for id in 1..=3 {
        store.put_member(GROUP, &member(id, MemberState::Settled)).await.unwrap();
    }
}

pub async fn cursors_move_forward_per_pointer(store: &impl AccountStore) {
    group_of_three(store).await;
    assert_eq!(store.cursor(GROUP, UserId(1)).await.unwrap(), Cursor::default());
    let put = |delivered: u64, read: u64| async move {
        let cursor = Cursor { delivered: mark(delivered), read: mark(read) };
        store.put_cursors(&[(GROUP, UserId(1), cursor)]).await.unwrap();
        let now = store.cursor(GROUP, UserId(1)).await.unwrap();
        assert_eq!(now, Cursor { delivered: mark(now.delivered.seq.0), read: mark(now.read.seq.0) }, "totals go along");
        (now.delivered.seq.0, now.read.seq.0)
    };
    assert_eq!(put(5, 3).await, (5, 3));
    assert_eq!(put(4, 4).await, (5, 4));
    assert_eq!(put(9, 0).await, (9, 4));
    assert_eq!(put(0, 0).await, (9, 4));
    let read = Cursor { read: mark(2), ..Cursor::default() };
    store.put_cursors(&[(GROUP, UserId(3), read), (GROUP, UserId(4), read)]).await.unwrap();
    let all = store.cursors_of(GROUP, 10).await.unwrap();
    let expected = Cursor { delivered: mark(9), read: mark(4) };
    assert_eq!(all, [(UserId(1), expected), (UserId(3), read)], "neither of who has none nor of who is no member");
    assert_eq!(store.cursors_of(GROUP, 1).await.unwrap().len(), 1);
    let listed = store.memberships(UserId(1), ConversationId(0), 5).await.unwrap();
    assert_eq!(listed[0].cursor, expected);
    store.put_member(GROUP, &member(1, MemberState::Leaving)).await.unwrap();
    assert_eq!(store.cursor(GROUP, UserId(1)).await.unwrap(), expected, "a change of the member keeps it");
}

pub async fn racing_cursors_end_at_the_furthest(store: &impl AccountStore) {
    group_of_three(store).await;
    let walk = |offset: u64| async move {
        for n in 0..20 {
            let at = (n * 7 + offset) % 41;
            let cursor = Cursor { delivered: mark(at), read: mark(40 - at) };
            store.put_cursors(&[(GROUP, UserId(1), cursor), (GROUP, UserId(2), cursor)]).await.unwrap();
        }
    };
    tokio::join!(walk(0), walk(5), walk(11));
    let furthest = |pointer: fn(u64) -> u64| {
        [0, 5, 11].iter().flat_map(|offset| (0..20).map(move |n| pointer((n * 7 + offset) % 41))).max().unwrap()
    };
    let now = store.cursor(GROUP, UserId(2)).await.unwrap();
    assert_eq!((now.delivered, now.read), (mark(furthest(|at| at)), mark(furthest(|at| 40 - at))));
}

pub async fn a_cursor_ends_with_its_membership(store: &impl AccountStore) {
    group_of_three(store).await;
    let cursor = Cursor { delivered: mark(5), read: mark(5) };
    store.put_cursors(&[(GROUP, UserId(1), cursor)]).await.unwrap();
    store.remove_member(GROUP, UserId(1)).await.unwrap();
    // One that was gathered before the removal comes late.
    store.put_cursors(&[(GROUP, UserId(1), cursor)]).await.unwrap();
    assert_eq!(store.cursor(GROUP, UserId(1)).await.unwrap(), Cursor::default());
    store.put_member(GROUP, &member(1, MemberState::Settled)).await.unwrap();
    assert_eq!(store.cursor(GROUP, UserId(1)).await.unwrap(), Cursor::default());
}
