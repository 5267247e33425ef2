//! Cursors, which live in the member's row: one that comes late can't outlive the membership.

use chinwag_schema::{
    ids::{ConversationId, Seq, UserId},
    model::{Cursor, Mark},
    tables::postgres::members,
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, Queryable, Selectable, SelectableHelper,
    sql_types::{Array, BigInt},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    super::{fault::Outcome, statement::statement},
    at_most, relaxed,
};

#[derive(Queryable, Selectable)]
#[diesel(table_name = members)]
pub(super) struct CursorRow {
    delivered_seq: i64,
    delivered_messages: i64,
    delivered_own: i64,
    read_seq: i64,
    read_messages: i64,
    read_own: i64,
}

impl From<CursorRow> for Cursor {
    fn from(row: CursorRow) -> Self {
        let mark = |seq: i64, messages: i64, own: i64| Mark {
            seq: Seq(seq.cast_unsigned()),
            messages: messages.cast_unsigned(),
            own: own.cast_unsigned(),
        };
        Self {
            delivered: mark(row.delivered_seq, row.delivered_messages, row.delivered_own),
            read: mark(row.read_seq, row.read_messages, row.read_own),
        }
    }
}

statement! {
    /// Locks the rows in the order of their keys first, so that two of these never wait for each other. The update then sees what
    /// another one stored meanwhile, and each pointer moves on from there or not at all, its totals with it.
    Put<'a> {
        conversations: &'a [i64] as Array<BigInt>, users: &'a [i64] as Array<BigInt>,
        delivered_seq: &'a [i64] as Array<BigInt>, delivered_messages: &'a [i64] as Array<BigInt>,
        delivered_own: &'a [i64] as Array<BigInt>, read_seq: &'a [i64] as Array<BigInt>,
        read_messages: &'a [i64] as Array<BigInt>, read_own: &'a [i64] as Array<BigInt>,
    },
    concat!(
        "WITH relaxed AS MATERIALIZED (", relaxed!(), "), \
              moved AS MATERIALIZED ( \
                SELECT new.* FROM unnest(?, ?, ?, ?, ?, ?, ?, ?) AS new \
                  (conversation, user_id, delivered_seq, delivered_messages, delivered_own, read_seq, read_messages, read_own) \
                JOIN members m ON m.conversation = new.conversation AND m.user_id = new.user_id \
                WHERE m.delivered_seq < new.delivered_seq OR m.read_seq < new.read_seq \
                ORDER BY m.conversation, m.user_id FOR NO KEY UPDATE OF m) \
         UPDATE members m SET \
           delivered_seq = greatest(m.delivered_seq, moved.delivered_seq), \
           delivered_messages = CASE WHEN m.delivered_seq < moved.delivered_seq \
                                THEN moved.delivered_messages ELSE m.delivered_messages END, \
           delivered_own = CASE WHEN m.delivered_seq < moved.delivered_seq THEN moved.delivered_own ELSE m.delivered_own END, \
           read_seq = greatest(m.read_seq, moved.read_seq), \
           read_messages = CASE WHEN m.read_seq < moved.read_seq THEN moved.read_messages ELSE m.read_messages END, \
           read_own = CASE WHEN m.read_seq < moved.read_seq THEN moved.read_own ELSE m.read_own END \
         FROM moved, relaxed WHERE m.conversation = moved.conversation AND m.user_id = moved.user_id"
    )
}

/// Cursors of one statement, as columns.
#[derive(Default)]
pub(super) struct Columns {
    keys: [Vec<i64>; 2],
    delivered: [Vec<i64>; 3],
    read: [Vec<i64>; 3],
}

impl FromIterator<((ConversationId, UserId), Cursor)> for Columns {
    fn from_iter<I: IntoIterator<Item = ((ConversationId, UserId), Cursor)>>(cursors: I) -> Self {
        let mut columns = Self::default();
        for ((conversation, user), Cursor { delivered, read }) in cursors {
            push(&mut columns.keys, [conversation.0, user.0]);
            push(&mut columns.delivered, stored(delivered));
            push(&mut columns.read, stored(read));
        }
        columns
    }
}

fn push<const N: usize>(columns: &mut [Vec<i64>; N], row: [i64; N]) {
    for (column, value) in columns.iter_mut().zip(row) {
        column.push(value);
    }
}

fn stored(mark: Mark) -> [i64; 3] {
    [mark.seq.0.cast_signed(), mark.messages.cast_signed(), mark.own.cast_signed()]
}

/// Moves cursors forward, each member's named once. Those of users that are no members are dropped.
pub(super) async fn put(mut db: &AsyncPgConnection, cursors: &Columns) -> Outcome<()> {
    let Columns { keys: [conversations, users], delivered, read } = cursors;
    let [delivered_seq, delivered_messages, delivered_own] = delivered;
    let [read_seq, read_messages, read_own] = read;
    let put = Put {
        conversations,
        users,
        delivered_seq,
        delivered_messages,
        delivered_own,
        read_seq,
        read_messages,
        read_own,
    };
    put.execute(&mut db).await?;
    Ok(())
}

pub(super) async fn one(mut db: &AsyncPgConnection, conversation: ConversationId, user: UserId) -> Outcome<Cursor> {
    let query = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::user_id.eq(user.0))
        .select(CursorRow::as_select());
    Ok(query.get_result(&mut db).await.optional()?.map(Cursor::from).unwrap_or_default())
}

pub(super) async fn of_conversation(
    mut db: &AsyncPgConnection,
    conversation: ConversationId,
    limit: usize,
) -> Outcome<Vec<(UserId, Cursor)>> {
    let query = members::table
        .filter(members::conversation.eq(conversation.0))
        .filter(members::delivered_seq.gt(0).or(members::read_seq.gt(0)))
        .order(members::user_id.asc())
        .limit(at_most(limit))
        .select((members::user_id, CursorRow::as_select()));
    let rows: Vec<(i64, CursorRow)> = query.load(&mut db).await?;
    Ok(rows.into_iter().map(|(user, row)| (UserId(user), row.into())).collect())
}
