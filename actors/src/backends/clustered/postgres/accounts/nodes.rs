//! What must never go back or be given twice: numbers of nodes, reserved time, terms; and the epoch of the log.

use chinwag_schema::ids::{Epoch, NodeId, Shard, Term};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::try_join3;
use rustc_hash::FxHashMap;

use super::super::{fault::Outcome, statement::statement};
use crate::ports::StoreError;

statement! {
    NodeOfName<'a> { name: &'a str as Text } -> Integer,
    "SELECT node FROM nodes WHERE name = ?"
}

statement! {
    /// One at a time: two new nodes would choose the same number.
    LockNodes {},
    "LOCK TABLE nodes IN SHARE ROW EXCLUSIVE MODE"
}

const _: () = assert!(NodeId::COUNT == 1024);

statement! {
    AddNode<'a> { name: &'a str as Text },
    "INSERT INTO nodes (node, name) \
     SELECT n, ? FROM generate_series(0, 1023) AS n WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE node = n) ORDER BY n LIMIT 1 \
     ON CONFLICT (name) DO NOTHING"
}

statement! {
    /// A statement returns what it stored, so what was there before is stored as well.
    ReserveIds { node: i32 as Integer, until_ms: i64 as BigInt } -> BigInt,
    "INSERT INTO id_reservations AS there (node, before_ms, until_ms) VALUES (?, 0, ?) \
     ON CONFLICT (node) DO UPDATE \
     SET before_ms = there.until_ms, until_ms = greatest(there.until_ms, excluded.until_ms) RETURNING before_ms"
}

statement! {
    NextTerms<'a> { shards: &'a [i16] as Array<SmallInt> } -> (SmallInt, BigInt),
    "INSERT INTO shard_terms AS there (shard, term) SELECT new.shard, 1 FROM unnest(?) AS new (shard) ORDER BY new.shard \
     ON CONFLICT (shard) DO UPDATE SET term = there.term + 1 RETURNING shard, term"
}

statement! {
    RaiseTerms<'a> { shards: &'a [i16] as Array<SmallInt>, terms: &'a [i64] as Array<BigInt> },
    "INSERT INTO shard_terms AS there (shard, term) SELECT new.shard, max(new.term) FROM unnest(?, ?) AS new (shard, term) \
     GROUP BY new.shard ORDER BY new.shard \
     ON CONFLICT (shard) DO UPDATE SET term = excluded.term WHERE there.term < excluded.term"
}

statement! {
    LogEpoch { wanted: i64 as BigInt } -> Nullable<BigInt>,
    "UPDATE store_info SET log_epoch = coalesce(log_epoch, ?) RETURNING log_epoch"
}

statement! {
    PutLogEpoch { epoch: i64 as BigInt },
    "UPDATE store_info SET log_epoch = ?"
}

statement! {
    CopyBegunAt {} -> BigInt,
    "SELECT begun_at_ms FROM copies WHERE finished_at_ms IS NULL"
}

/// Returns since when another store is being copied into this one (`backends/copy`).
pub(super) async fn copy_begun_at(mut db: &AsyncPgConnection) -> Outcome<Option<i64>> {
    let found: Vec<i64> = CopyBegunAt {}.load(&mut db).await?;
    Ok(found.into_iter().next())
}

pub(super) async fn node_of_name(mut db: &AsyncPgConnection, name: &str) -> Outcome<Option<NodeId>> {
    let found: Vec<i32> = NodeOfName { name }.load(&mut db).await?;
    found.into_iter().next().map(to_node).transpose()
}

/// Part of a transaction.
pub(super) async fn node_id(db: &AsyncPgConnection, name: &str) -> Outcome<NodeId> {
    let (_, _, found) = try_join3(
        LockNodes {}.execute(&mut &*db),
        AddNode { name }.execute(&mut &*db),
        NodeOfName { name }.load::<i32>(&mut &*db),
    )
    .await?;
    match found[..] {
        [node] => to_node(node),
        _ => Err(StoreError::LimitReached(u64::from(NodeId::COUNT)).into()),
    }
}

fn to_node(stored: i32) -> Outcome<NodeId> {
    let node = u16::try_from(stored).map_err(|_| StoreError::Corrupt(format!("a node has the number {stored}")))?;
    Ok(NodeId(node))
}

pub(super) async fn reserve_ids(mut db: &AsyncPgConnection, node: u16, until_ms: i64) -> Outcome<i64> {
    Ok(ReserveIds { node: i32::from(node), until_ms }.get_result(&mut db).await?)
}

pub(super) async fn next_terms(mut db: &AsyncPgConnection, shards: &[Shard]) -> Outcome<Vec<Term>> {
    let wanted: Vec<_> = shards.iter().map(|shard| i16::from(shard.0)).collect();
    let given: Vec<(i16, i64)> = NextTerms { shards: &wanted }.load(&mut db).await?;
    let given: FxHashMap<_, _> = given.into_iter().collect();
    let term = |shard: &i16| given.get(shard).map(|term| Term(term.cast_unsigned()));
    let terms: Option<Vec<_>> = wanted.iter().map(term).collect();
    terms.ok_or_else(|| StoreError::Corrupt("a shard got no term".to_owned()).into())
}

pub(super) async fn raise_terms(mut db: &AsyncPgConnection, terms: &[(Shard, Term)]) -> Outcome<()> {
    let (shards, terms): (Vec<_>, Vec<_>) =
        terms.iter().map(|(shard, term)| (i16::from(shard.0), term.0.cast_signed())).unzip();
    RaiseTerms { shards: &shards, terms: &terms }.execute(&mut db).await?;
    Ok(())
}

pub(super) async fn log_epoch(mut db: &AsyncPgConnection, wanted: Epoch) -> Outcome<Epoch> {
    let stored: Option<i64> = LogEpoch { wanted: wanted.0.cast_signed() }.get_result(&mut db).await?;
    Ok(stored.map_or(wanted, |epoch| Epoch(epoch.cast_unsigned())))
}

pub(super) async fn put_log_epoch(mut db: &AsyncPgConnection, epoch: Epoch) -> Outcome<()> {
    PutLogEpoch { epoch: epoch.0.cast_signed() }.execute(&mut db).await?;
    Ok(())
}
