//! What several callers do at once, each as if on a node of its own.

use chinwag_actors::ports::{
    StoreError,
    account_store::{AccountStore, Rotation},
};
use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits,
    model::{ConversationKind, Cursor, Mark, MemberState},
};
use futures_util::future::join_all;

use super::accounts::{conversation, direct, member, some_users, token};

pub async fn chats_opened_by_many_at_once_are_made_once(store: &impl AccountStore) {
    some_users(store, 5).await;
    // Four pairs, each opened by eight, from both ends.
    let new: Vec<_> = (0..32)
        .map(|n| {
            let other = 2 + n % 4;
            if n % 2 == 0 { direct(100 + n, 1, other) } else { direct(100 + n, other, 1) }
        })
        .collect();
    let opened = join_all(new.iter().map(|chat| store.open_direct(chat))).await;
    let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    assert_eq!(opened.iter().filter(|(_, made)| *made).count(), 4);
    for (n, (chat, _)) in opened.iter().enumerate() {
        assert_eq!(chat, &opened[n % 4].0);
        assert_eq!(store.members(chat.id, UserId(0), 10).await.unwrap().len(), 2);
    }
    assert_eq!(store.memberships(UserId(1), ConversationId(0), 100).await.unwrap().len(), 4);
}

pub async fn joins_at_once_stop_at_the_users_bound(store: &impl AccountStore) {
    const OVER: usize = 20;
    some_users(store, 1).await;
    let most = limits::user::CONVERSATIONS_MAX;
    let ids: Vec<_> = (1..=(most + OVER) as i64).map(ConversationId).collect();
    let groups: Vec<_> = ids.iter().map(|id| conversation(id.0, ConversationKind::Group, Some("group"))).collect();
    for some in groups.chunks(50) {
        let created = join_all(some.iter().map(|group| store.create_conversation(group))).await;
        assert!(created.iter().all(Result::is_ok));
    }
    let row = member(1, MemberState::Settled);
    let (before, at_once) = ids.split_at(most - OVER);
    for some in before.chunks(50) {
        let joined = join_all(some.iter().map(|id| store.put_member(*id, &row))).await;
        assert!(joined.iter().all(|one| matches!(one, Ok(true))));
    }
    let joined = join_all(at_once.iter().map(|id| store.put_member(*id, &row))).await;
    assert_eq!(joined.iter().filter(|one| matches!(one, Ok(true))).count(), OVER);
    assert_eq!(joined.iter().filter(|one| matches!(one, Err(StoreError::LimitReached(_)))).count(), OVER);
}

pub async fn a_member_put_by_many_at_once_is_counted_once(store: &impl AccountStore) {
    some_users(store, 3).await;
    let group = ConversationId(1);
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    let row = member(1, MemberState::Joining);
    for _ in 0..5 {
        let put = join_all((0..6).map(|_| store.put_member(group, &row))).await;
        assert_eq!(put.into_iter().filter(|one| *one.as_ref().unwrap()).count(), 1);
        let removed = join_all((0..6).map(|_| store.remove_member(group, UserId(1)))).await;
        assert_eq!(removed.into_iter().filter(|one| *one.as_ref().unwrap()).count(), 1);
    }
    // Coming and going of one member from all sides, beside others who join.
    let mixed = join_all((0..24).map(|n| {
        let row = row.clone();
        async move {
            match n % 3 {
                0 => store.put_member(group, &row).await.map(|_| ()),
                1 => store.remove_member(group, UserId(1)).await.map(|_| ()),
                _ => store.put_member(group, &member(2 + n % 2, MemberState::Settled)).await.map(|_| ()),
            }
        }
    }))
    .await;
    assert!(mixed.iter().all(Result::is_ok), "{mixed:?}");
}

pub async fn a_token_rotated_by_many_at_once_has_one_winner(store: &impl AccountStore) {
    some_users(store, 1).await;
    for round in 0..10u8 {
        let (old, family) = ([100 + round; 32], i64::from(round));
        store.add_refresh_token(&token(100 + round, family, 1, 9000)).await.unwrap();
        let raced = join_all((0..8u8).map(|n| store.rotate_refresh_token(&old, [n + 8 * round; 32], 9500, 100))).await;
        let raced: Vec<_> = raced.into_iter().map(Result::unwrap).collect();
        assert_eq!(raced.iter().filter(|one| matches!(one, Rotation::Rotated { .. })).count(), 1, "{raced:?}");
        // The others came with a spent token: nothing of the family is left.
        for n in 0..8u8 {
            let after = store.rotate_refresh_token(&[n + 8 * round; 32], [255; 32], 9500, 100).await.unwrap();
            assert_eq!(after, Rotation::Refused);
        }
    }
}

pub async fn a_rotation_beside_a_revocation_leaves_no_token(store: &impl AccountStore) {
    some_users(store, 1).await;
    for round in 0..20u8 {
        let (old, new, family) = ([round + 1; 32], [round + 101; 32], i64::from(round));
        store.add_refresh_token(&token(round + 1, family, 1, 9000)).await.unwrap();
        let revoke = async {
            match round % 3 {
                0 => store.revoke_refresh_family(family).await,
                1 => store.set_password(UserId(1), "new", 1).await,
                _ => store.set_banned(UserId(1), true, 1).await,
            }
        };
        let (rotated, revoked) = tokio::join!(store.rotate_refresh_token(&old, new, 9500, 100), revoke);
        revoked.unwrap();
        rotated.unwrap();
        let after = store.rotate_refresh_token(&new, [255; 32], 9500, 100).await.unwrap();
        assert_eq!(after, Rotation::Refused, "round {round}: a token outlived its revocation");
    }
}

pub async fn cursors_put_from_many_sides_at_once_end_at_the_furthest(store: &impl AccountStore) {
    const MEMBERS: i64 = 30;
    some_users(store, MEMBERS).await;
    let group = ConversationId(1);
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    for id in 1..=MEMBERS {
        store.put_member(group, &member(id, MemberState::Settled)).await.unwrap();
    }
    let mark = |seq: u64| Mark { seq: Seq(seq), messages: seq * 2, own: seq / 2 };
    // The same rows in another order each time; and some twice in one call.
    let write = |side: i64| async move {
        for round in 0..10u64 {
            let mut cursors: Vec<_> = (0..MEMBERS + 5)
                .map(|n| {
                    let at = round + 1 + side.cast_unsigned();
                    let user = UserId(1 + (n * (side * 2 + 1) + side) % MEMBERS);
                    (group, user, Cursor { delivered: mark(at + 5), read: mark(at) })
                })
                .collect();
            if side % 2 == 1 {
                cursors.reverse();
            }
            store.put_cursors(&cursors).await.unwrap();
        }
    };
    tokio::join!(write(0), write(1), write(2), write(3), write(5), write(6));
    let all = store.cursors_of(group, 100).await.unwrap();
    assert_eq!(all.len() as i64, MEMBERS);
    for (user, cursor) in all {
        assert_eq!(cursor, Cursor { delivered: mark(21), read: mark(16) }, "{user}");
    }
}
