//! Users, tokens, conversations, members.

use chinwag_actors::ports::{
    StoreError,
    account_store::{AccountStore, MemberRow, RefreshToken, Rotation},
};
use chinwag_schema::{
    ids::{ConversationId, UserId},
    limits,
    model::{Conversation, ConversationKind, Member, MemberState, Role, User},
};

pub fn user(id: i64, name: &str) -> User {
    User {
        id: UserId(id),
        name: name.into(),
        display_name: None,
        created_at_ms: 1000 + id,
        last_seen_ms: None,
        banned: false,
    }
}

/// Creates users 1 to `count`, named `user N`.
pub async fn some_users(store: &impl AccountStore, count: i64) {
    for id in 1..=count {
        store.create_user(&user(id, &format!("user {id}")), "hash").await.unwrap();
    }
}

pub fn conversation(id: i64, kind: ConversationKind, name: Option<&str>) -> Conversation {
    Conversation {
        id: ConversationId(id),
        kind,
        name: name.map(Into::into),
        created_by: UserId(1),
        created_at_ms: 5000 + id,
        pair: None,
    }
}

pub fn member(id: i64, state: MemberState) -> MemberRow {
    let member = Member { user: UserId(id), name: format!("user {id}").into() };
    MemberRow { member, role: Role::Member, state }
}

pub fn direct(id: i64, a: i64, b: i64) -> Conversation {
    let pair = [a, b].map(|id| Member { user: UserId(id), name: format!("user {id}").into() });
    Conversation { pair: Some(pair), ..conversation(id, ConversationKind::Direct, None) }
}

pub fn token(hash: u8, family: i64, user: i64, expires_at_ms: i64) -> RefreshToken {
    RefreshToken { hash: [hash; 32], family, user: UserId(user), expires_at_ms }
}

pub async fn names_are_unique_and_case_sensitive(store: &impl AccountStore) {
    store.create_user(&user(1, "Anna"), "hash 1").await.unwrap();
    store.create_user(&user(2, "anna"), "hash 2").await.unwrap();
    assert!(matches!(store.create_user(&user(3, "Anna"), "hash 3").await, Err(StoreError::AlreadyExists)));
    assert!(matches!(store.create_user(&user(1, "Bert"), "hash 4").await, Err(StoreError::AlreadyExists)));
    let found = store.credentials("Anna").await.unwrap().unwrap();
    assert_eq!((found.user, &*found.password_hash, found.tokens_valid_from_ms), (user(1, "Anna"), "hash 1", 0));
    assert_eq!(store.user_by_name("anna").await.unwrap(), Some(user(2, "anna")));
    assert_eq!(store.user_by_name("ANNA").await.unwrap(), None);
    assert!(store.credentials("' OR 1=1 --").await.unwrap().is_none());
}

pub async fn users_are_found_and_paged(store: &impl AccountStore) {
    some_users(store, 250).await;
    let ids: Vec<_> = [7, 3, 999, 250].into_iter().chain(10..200).map(UserId).collect();
    let mut found: Vec<_> = store.users(&ids).await.unwrap().iter().map(|user| user.id.0).collect();
    found.sort_unstable();
    assert_eq!(found, [3, 7].into_iter().chain(10..200).chain([250]).collect::<Vec<_>>());
    assert!(store.users(&[]).await.unwrap().is_empty());
    let page = store.list_users(UserId(245), 3).await.unwrap();
    assert_eq!(page.iter().map(|user| user.id.0).collect::<Vec<_>>(), [246, 247, 248]);
    assert_eq!(store.list_users(UserId(248), 3).await.unwrap().len(), 2);

    store.set_display_name(UserId(1), Some("Ännchen <b>")).await.unwrap();
    assert_eq!(store.user_by_name("user 1").await.unwrap().unwrap().display_name.as_deref(), Some("Ännchen <b>"));
    store.set_display_name(UserId(1), None).await.unwrap();
    assert_eq!(store.user_by_name("user 1").await.unwrap().unwrap().display_name, None);
    assert!(matches!(store.set_display_name(UserId(999), None).await, Err(StoreError::NotFound)));
}

pub async fn a_new_password_voids_what_was_issued(store: &impl AccountStore) {
    some_users(store, 2).await;
    store.add_refresh_token(&token(1, 10, 1, 9000)).await.unwrap();
    store.add_refresh_token(&token(2, 20, 2, 9000)).await.unwrap();
    store.set_password(UserId(1), "new hash", 5000).await.unwrap();
    let now = store.credentials("user 1").await.unwrap().unwrap();
    assert_eq!((&*now.password_hash, now.tokens_valid_from_ms), ("new hash", 5000));
    assert_eq!(store.rotate_refresh_token(&[1; 32], [3; 32], 9999, 6000).await.unwrap(), Rotation::Refused);
    let other = store.rotate_refresh_token(&[2; 32], [4; 32], 9999, 6000).await.unwrap();
    assert_eq!(other, Rotation::Rotated { user: UserId(2), family: 20 });
    assert_eq!(store.revoked_users(0).await.unwrap(), [(UserId(1), 5000)]);
    assert_eq!(store.revoked_users(4999).await.unwrap(), [(UserId(1), 5000)]);
    assert!(store.revoked_users(5000).await.unwrap().is_empty());
    // A clock that goes back doesn't make old tokens valid.
    store.set_password(UserId(1), "newer hash", 4000).await.unwrap();
    assert_eq!(store.credentials("user 1").await.unwrap().unwrap().tokens_valid_from_ms, 5000);
    assert!(matches!(store.set_password(UserId(99), "hash", 1).await, Err(StoreError::NotFound)));
}

pub async fn a_ban_voids_what_was_issued(store: &impl AccountStore) {
    some_users(store, 1).await;
    store.add_refresh_token(&token(1, 10, 1, 9000)).await.unwrap();
    store.set_banned(UserId(1), true, 5000).await.unwrap();
    assert!(store.credentials("user 1").await.unwrap().unwrap().user.banned);
    assert_eq!(store.rotate_refresh_token(&[1; 32], [3; 32], 9999, 6000).await.unwrap(), Rotation::Refused);
    assert_eq!(store.revoked_users(0).await.unwrap(), [(UserId(1), 5000)]);
    store.set_banned(UserId(1), false, 7000).await.unwrap();
    let now = store.credentials("user 1").await.unwrap().unwrap();
    assert_eq!((now.user.banned, now.tokens_valid_from_ms), (false, 5000));
    assert!(matches!(store.set_banned(UserId(99), true, 1).await, Err(StoreError::NotFound)));
}

pub async fn last_seen_only_moves_forward(store: &impl AccountStore) {
    some_users(store, 2).await;
    store.set_last_seen(&[(UserId(1), 500), (UserId(2), 700), (UserId(99), 1)]).await.unwrap();
    store.set_last_seen(&[(UserId(1), 400), (UserId(2), 800)]).await.unwrap();
    let seen = |name: &'static str| async move { store.user_by_name(name).await.unwrap().unwrap().last_seen_ms };
    assert_eq!((seen("user 1").await, seen("user 2").await), (Some(500), Some(800)));
}

pub async fn refresh_tokens_rotate_and_reuse_revokes_the_family(store: &impl AccountStore) {
    some_users(store, 1).await;
    store.add_refresh_token(&token(1, 10, 1, 9000)).await.unwrap();
    store.add_refresh_token(&token(50, 11, 1, 9000)).await.unwrap();
    let rotated = Rotation::Rotated { user: UserId(1), family: 10 };
    assert_eq!(store.rotate_refresh_token(&[1; 32], [2; 32], 9500, 100).await.unwrap(), rotated);
    assert_eq!(store.rotate_refresh_token(&[2; 32], [3; 32], 9600, 200).await.unwrap(), rotated);
    let reused = Rotation::Reused { user: UserId(1), family: 10 };
    assert_eq!(store.rotate_refresh_token(&[1; 32], [4; 32], 9700, 300).await.unwrap(), reused);
    for hash in [2, 3, 4] {
        let now = store.rotate_refresh_token(&[hash; 32], [99; 32], 9800, 400).await.unwrap();
        assert_eq!(now, Rotation::Refused, "token {hash} of the family");
    }
    // Another login of the same user goes on, until it is revoked by name.
    assert!(matches!(
        store.rotate_refresh_token(&[50; 32], [51; 32], 9000, 400).await.unwrap(),
        Rotation::Rotated { family: 11, .. }
    ));
    store.revoke_refresh_family(11).await.unwrap();
    assert_eq!(store.rotate_refresh_token(&[51; 32], [52; 32], 9000, 500).await.unwrap(), Rotation::Refused);
}

pub async fn racing_rotations_of_one_token_have_one_winner(store: &impl AccountStore) {
    some_users(store, 1).await;
    store.add_refresh_token(&token(1, 10, 1, 9000)).await.unwrap();
    let race = |hash: u8| store.rotate_refresh_token(&[1; 32], [hash; 32], 9500, 100);
    let old = [1; 32];
    let (a, b) = tokio::join!(race(2), store.rotate_refresh_token(&old, [3; 32], 9500, 100));
    let rotated = [a.unwrap(), b.unwrap()].iter().filter(|one| matches!(one, Rotation::Rotated { .. })).count();
    assert_eq!(rotated, 1);
}

pub async fn expired_and_unknown_refresh_tokens_are_refused(store: &impl AccountStore) {
    some_users(store, 1).await;
    store.add_refresh_token(&token(1, 10, 1, 1000)).await.unwrap();
    assert_eq!(store.rotate_refresh_token(&[1; 32], [2; 32], 9000, 1000).await.unwrap(), Rotation::Refused);
    assert_eq!(store.rotate_refresh_token(&[9; 32], [2; 32], 9000, 0).await.unwrap(), Rotation::Refused);
    assert_eq!(store.remove_expired_tokens(999).await.unwrap(), 0);
    assert_eq!(store.remove_expired_tokens(1000).await.unwrap(), 1);
    assert_eq!(store.rotate_refresh_token(&[1; 32], [2; 32], 9000, 0).await.unwrap(), Rotation::Refused);
}

pub async fn revoked_access_tokens_are_listed_until_they_expire(store: &impl AccountStore) {
    store.revoke_access_token("a", 1000).await.unwrap();
    store.revoke_access_token("b", 2000).await.unwrap();
    store.revoke_access_token("b", 2000).await.unwrap();
    let mut listed = store.revoked_access_tokens(999).await.unwrap();
    listed.sort();
    assert_eq!(listed, [("a".to_owned(), 1000), ("b".to_owned(), 2000)]);
    assert_eq!(store.revoked_access_tokens(1000).await.unwrap(), [("b".to_owned(), 2000)]);
    assert_eq!(store.remove_expired_tokens(1000).await.unwrap(), 1);
    assert_eq!(store.revoked_access_tokens(0).await.unwrap(), [("b".to_owned(), 2000)]);
}

pub async fn room_names_are_unique_but_group_names_are_not(store: &impl AccountStore) {
    let room = conversation(1, ConversationKind::Room, Some("lobby"));
    store.create_conversation(&room).await.unwrap();
    let again = conversation(2, ConversationKind::Room, Some("lobby"));
    assert!(matches!(store.create_conversation(&again).await, Err(StoreError::AlreadyExists)));
    assert_eq!(store.conversation(ConversationId(2)).await.unwrap(), None);
    store.create_conversation(&conversation(3, ConversationKind::Room, Some("Lobby"))).await.unwrap();
    let group = conversation(4, ConversationKind::Group, Some("lobby"));
    store.create_conversation(&group).await.unwrap();
    store.create_conversation(&conversation(5, ConversationKind::Group, Some("lobby"))).await.unwrap();
    assert_eq!(store.room_by_name("lobby").await.unwrap(), Some(room));
    assert_eq!(store.conversation(ConversationId(4)).await.unwrap(), Some(group));
    assert_eq!(store.room_by_name("nowhere").await.unwrap(), None);
    assert!(store.members(ConversationId(1), UserId(0), 10).await.unwrap().is_empty());
}

pub async fn rooms_are_paged_by_id(store: &impl AccountStore) {
    for id in 1..=9 {
        let kind = if id % 3 == 0 { ConversationKind::Group } else { ConversationKind::Room };
        store.create_conversation(&conversation(id, kind, Some(&format!("name {id}")))).await.unwrap();
    }
    let page = |after: i64, limit: usize| async move {
        let rooms = store.list_rooms(ConversationId(after), limit).await.unwrap();
        rooms.iter().map(|room| room.id.0).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 4).await, [1, 2, 4, 5]);
    assert_eq!(page(5, 4).await, [7, 8]);
    assert!(page(8, 4).await.is_empty());
}

pub async fn a_pair_has_one_chat_even_when_both_open_it_at_once(store: &impl AccountStore) {
    some_users(store, 3).await;
    let (one, other) = (direct(10, 1, 2), direct(11, 2, 1));
    let (a, b) = tokio::join!(store.open_direct(&one), store.open_direct(&other));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.0, b.0);
    assert_ne!(a.1, b.1, "one of them made it");
    let chat = a.0;
    let pair = chat.pair.clone().unwrap();
    assert_eq!((pair[0].user, pair[1].user, &*pair[1].name), (UserId(1), UserId(2), "user 2"));
    assert_eq!(store.direct_between(UserId(2), UserId(1)).await.unwrap().as_ref(), Some(&chat));
    assert_eq!(store.direct_between(UserId(1), UserId(3)).await.unwrap(), None);
    assert_eq!(store.conversation(chat.id).await.unwrap().as_ref(), Some(&chat));
    let members = store.members(chat.id, UserId(0), 10).await.unwrap();
    assert_eq!(members, [member(1, MemberState::Settled), member(2, MemberState::Settled)]);
    assert!(store.open_direct(&direct(12, 1, 3)).await.unwrap().1);
}

pub async fn members_come_and_go(store: &impl AccountStore) {
    some_users(store, 5).await;
    let group = ConversationId(1);
    store.create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    for id in [3, 1, 2] {
        assert!(store.put_member(group, &member(id, MemberState::Joining)).await.unwrap());
    }
    let admin = MemberRow { role: Role::Admin, ..member(2, MemberState::Settled) };
    assert!(!store.put_member(group, &admin).await.unwrap(), "it was there");
    let expected = [member(1, MemberState::Joining), admin, member(3, MemberState::Joining)];
    assert_eq!(store.members(group, UserId(0), 10).await.unwrap(), expected);
    assert_eq!(store.members(group, UserId(1), 1).await.unwrap(), expected[1..2]);
    assert!(store.remove_member(group, UserId(1)).await.unwrap());
    assert!(!store.remove_member(group, UserId(1)).await.unwrap());
    assert_eq!(store.members(group, UserId(0), 10).await.unwrap(), expected[1..]);
    // Neither a conversation nor a user comes into being by joining.
    let nowhere = store.put_member(ConversationId(99), &member(1, MemberState::Settled)).await;
    assert!(matches!(nowhere, Err(StoreError::NotFound)));
    let nobody = store.put_member(group, &member(99, MemberState::Settled)).await;
    assert!(matches!(nobody, Err(StoreError::NotFound)));
}

pub async fn memberships_are_paged_and_leave_out_those_leaving(store: &impl AccountStore) {
    some_users(store, 2).await;
    for id in 1..=5 {
        store.create_conversation(&conversation(id, ConversationKind::Group, Some("group"))).await.unwrap();
        let state = if id == 3 { MemberState::Leaving } else { MemberState::Settled };
        store.put_member(ConversationId(id), &member(1, state)).await.unwrap();
    }
    store.open_direct(&direct(6, 2, 1)).await.unwrap();
    let page = |after: i64, limit: usize| async move {
        let found = store.memberships(UserId(1), ConversationId(after), limit).await.unwrap();
        found.iter().map(|one| one.conversation.id.0).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3).await, [1, 2, 4]);
    assert_eq!(page(4, 3).await, [5, 6]);
    let last = store.memberships(UserId(2), ConversationId(0), 9).await.unwrap();
    assert_eq!(&*last[0].conversation.other(UserId(2)).unwrap().name, "user 1");
    assert!(store.memberships(UserId(9), ConversationId(0), 3).await.unwrap().is_empty());
}

pub async fn memberships_have_a_bound(store: &impl AccountStore) {
    some_users(store, 2).await;
    let most = limits::user::CONVERSATIONS_MAX as i64;
    for id in 1..=most + 1 {
        store.create_conversation(&conversation(id, ConversationKind::Group, Some("group"))).await.unwrap();
        let joined = store.put_member(ConversationId(id), &member(1, MemberState::Settled)).await;
        match joined {
            Ok(added) => assert!(added && id <= most),
            Err(StoreError::LimitReached(bound)) => assert_eq!((bound as i64, id), (most, most + 1)),
            Err(other) => panic!("{other}"),
        }
    }
    // Nor may it open chats; others may open theirs with it.
    let chat = |by| Conversation { created_by: UserId(by), ..direct(most + 2, 1, 2) };
    assert!(matches!(store.open_direct(&chat(1)).await, Err(StoreError::LimitReached(bound)) if bound as i64 == most));
    assert_eq!(store.direct_between(UserId(1), UserId(2)).await.unwrap(), None);
    assert!(store.open_direct(&chat(2)).await.unwrap().1);
    store.remove_member(ConversationId(most + 2), UserId(1)).await.unwrap();
    // Leaving one makes room for another.
    store.remove_member(ConversationId(1), UserId(1)).await.unwrap();
    assert!(store.put_member(ConversationId(most + 1), &member(1, MemberState::Settled)).await.unwrap());
}

pub async fn who_connects_gets_memberships_with_those_they_are_with(store: &impl AccountStore) {
    some_users(store, 6).await;
    for (id, other) in [(10, 2), (11, 3), (12, 4), (13, 5)] {
        store.open_direct(&direct(id, 1, other)).await.unwrap();
    }
    store.put_member(ConversationId(13), &member(1, MemberState::Leaving)).await.unwrap();
    store.create_conversation(&conversation(5, ConversationKind::Group, Some("group"))).await.unwrap();
    for id in [1, 6] {
        store.put_member(ConversationId(5), &member(id, MemberState::Settled)).await.unwrap();
    }
    let read = |after: i64, limit: usize| async move {
        let (page, users) = store.memberships_and_users(UserId(1), ConversationId(after), limit).await.unwrap();
        assert_eq!(page, store.memberships(UserId(1), ConversationId(after), limit).await.unwrap());
        let mut users: Vec<_> = users.iter().map(|user| user.id.0).collect();
        users.sort_unstable();
        (page.iter().map(|one| one.conversation.id.0).collect::<Vec<_>>(), users)
    };
    assert_eq!(read(0, 3).await, (vec![5, 10, 11], vec![1, 2, 3]), "nobody of the group, nor of the next page");
    assert_eq!(read(11, 3).await, (vec![12], vec![1, 4]), "nor of a chat that is being left");
    assert_eq!(read(12, 3).await, (vec![], vec![1]));
}

pub async fn names_that_cannot_exist_are_not_found(store: &impl AccountStore) {
    some_users(store, 1).await;
    for name in ["", "user 1\0", "\0", "user \u{fffd}"] {
        assert!(store.credentials(name).await.unwrap().is_none(), "{name:?}");
        assert_eq!(store.user_by_name(name).await.unwrap(), None, "{name:?}");
        assert_eq!(store.room_by_name(name).await.unwrap(), None, "{name:?}");
    }
}
