//! Several nodes at once: as many stores, each with connections of its own.

use chinwag_actors::{
    backends::clustered::postgres::{PostgresAccounts, PostgresOptions},
    ports::{StoreError, account_store::AccountStore},
};
use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    limits,
    model::{ConversationKind, Cursor, Mark, MemberState},
};
use futures_util::future::join_all;

use super::{TestDatabase, connect};
use crate::suite::accounts::{conversation, member, some_users};

async fn nodes(database: &TestDatabase, count: usize) -> Vec<PostgresAccounts> {
    let options = PostgresOptions { connections_max: 4, ..database.options() };
    join_all((0..count).map(|_| async { connect(&options).await.unwrap() })).await
}

#[tokio::test]
async fn joins_from_many_nodes_stop_at_the_conversations_bound() {
    const ROOM_FOR: i64 = 10;
    let database = TestDatabase::make().await;
    let nodes = nodes(&database, 4).await;
    some_users(&nodes[0], 40).await;
    let group = ConversationId(1);
    nodes[0].create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    // As if all the others were there already.
    let client = database.client().await;
    let most = limits::conversation::MEMBERS_MAX as i64;
    client.execute("UPDATE conversations SET member_count = $1", &[&(most - ROOM_FOR)]).await.unwrap();
    let rows: Vec<_> = (1..=40).map(|id| member(id, MemberState::Settled)).collect();
    let joined = join_all(rows.iter().enumerate().map(|(n, row)| nodes[n % 4].put_member(group, row))).await;
    assert_eq!(joined.iter().filter(|one| matches!(one, Ok(true))).count() as i64, ROOM_FOR);
    let refused = |one: &&_| matches!(one, Err(StoreError::LimitReached(bound)) if *bound as i64 == most);
    assert_eq!(joined.iter().filter(refused).count() as i64, 40 - ROOM_FOR);
    let count = client.query_one("SELECT member_count FROM conversations", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), most);
    assert_eq!(nodes[1].members(group, UserId(0), 100).await.unwrap().len() as i64, ROOM_FOR);
}

#[tokio::test]
async fn coming_and_going_on_many_nodes_keeps_the_count() {
    let database = TestDatabase::make().await;
    let nodes = nodes(&database, 3).await;
    some_users(&nodes[0], 12).await;
    let group = ConversationId(1);
    nodes[0].create_conversation(&conversation(1, ConversationKind::Group, Some("group"))).await.unwrap();
    let life = |n: usize| {
        let store = &nodes[n % 3];
        async move {
            for round in 0..15 {
                let id = 1 + ((n * 5 + round * 7) % 12) as i64;
                if (n + round).is_multiple_of(3) {
                    store.remove_member(group, UserId(id)).await.unwrap();
                } else {
                    store.put_member(group, &member(id, MemberState::Settled)).await.unwrap();
                }
            }
        }
    };
    join_all((0..9).map(life)).await;
    let client = database.client().await;
    let counts = "SELECT member_count, (SELECT count(*) FROM members) FROM conversations";
    let row = client.query_one(counts, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
}

#[tokio::test]
async fn large_batches_of_cursors_from_many_nodes_all_arrive() {
    const MEMBERS: i64 = 3_000;
    let database = TestDatabase::make().await;
    let nodes = nodes(&database, 3).await;
    let client = database.client().await;
    client
        .batch_execute(&format!(
            "INSERT INTO users (id, name, created_at_ms, password_hash)
               SELECT n, 'user ' || n, 0, '' FROM generate_series(1, {MEMBERS}) AS n;
             INSERT INTO conversations (id, kind, created_by, created_at_ms, member_count) VALUES (1, 1, 1, 0, {MEMBERS}), (2, 1, 1, 0, {MEMBERS});
             INSERT INTO members (conversation, user_id, name, role, state)
               SELECT c, n, 'user ' || n, 0, 1 FROM generate_series(1, 2) AS c, generate_series(1, {MEMBERS}) AS n;"
        ))
        .await
        .unwrap();
    let cursors = |node: i64| -> Vec<_> {
        let mut all: Vec<_> = (1..=2)
            .flat_map(|c| (1..=MEMBERS).map(move |user| (ConversationId(c), UserId(user))))
            .map(|(conversation, user)| {
                // Whose turn it is to be ahead depends on the member.
                let seq = (10 + (user.0 + node) % 3).cast_unsigned();
                let mark = Mark { seq: Seq(seq), messages: seq, own: 0 };
                (conversation, user, Cursor { delivered: mark, read: mark })
            })
            .collect();
        all.rotate_left((node * 1_000).cast_unsigned() as usize);
        all
    };
    let batches: Vec<_> = (0..3).map(cursors).collect();
    let written = join_all(nodes.iter().zip(&batches).map(|(store, batch)| store.put_cursors(batch))).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    for conversation in [1, 2] {
        let stored = nodes[0].cursors_of(ConversationId(conversation), MEMBERS as usize + 1).await.unwrap();
        assert_eq!(stored.len() as i64, MEMBERS);
        assert!(stored.iter().all(|(_, cursor)| cursor.read.seq == Seq(12) && cursor.delivered.messages == 12));
    }
}
