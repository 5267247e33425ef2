//! What must never go back or be given twice: numbers of nodes, reserved time, terms; and the epoch of the log.

use chinwag_schema::{
    ids::{Epoch, NodeId, Shard, Term},
    tables::sqlite::{id_reservations, nodes, shard_terms, store_info},
};
use diesel::{
    ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Nullable},
};

use super::super::sql::{fault, statement};
use crate::ports::{StoreError, StoreResult};

statement! {
    RaiseTerm { shard: i64 as BigInt, term: i64 as BigInt },
    "INSERT INTO shard_terms (shard, term) VALUES (?, ?) ON CONFLICT (shard) DO UPDATE SET term = max(term, excluded.term)"
}

statement! {
    PutEpoch { epoch: Option<i64> as Nullable<BigInt> },
    "UPDATE store_info SET epoch = ?"
}

pub(super) fn node_id(conn: &mut SqliteConnection, name: &str) -> StoreResult<NodeId> {
    let there: Vec<(i64, String)> =
        nodes::table.order(nodes::node.asc()).select((nodes::node, nodes::name)).load(conn).map_err(fault)?;
    let to_node = |number: i64| {
        u16::try_from(number).map(NodeId).map_err(|_| StoreError::Corrupt(format!("a node has the number {number}")))
    };
    if let Some((number, _)) = there.iter().find(|(_, theirs)| theirs == name) {
        return to_node(*number);
    }
    let free = (0..i64::from(NodeId::COUNT)).zip(there.iter().map(|(number, _)| Some(*number)).chain([None]));
    let Some((free, _)) = free.into_iter().find(|(number, taken)| Some(*number) != *taken) else {
        return Err(StoreError::LimitReached(u64::from(NodeId::COUNT)));
    };
    diesel::insert_into(nodes::table)
        .values((nodes::node.eq(free), nodes::name.eq(name)))
        .execute(conn)
        .map_err(fault)?;
    to_node(free)
}

pub(super) fn reserve_ids(conn: &mut SqliteConnection, node: u16, until_ms: i64) -> StoreResult<i64> {
    let node = i64::from(node);
    let before: Option<i64> = id_reservations::table
        .filter(id_reservations::node.eq(node))
        .select(id_reservations::until_ms)
        .get_result(conn)
        .optional()
        .map_err(fault)?;
    let until_ms = until_ms.max(before.unwrap_or(i64::MIN));
    diesel::insert_into(id_reservations::table)
        .values((id_reservations::node.eq(node), id_reservations::until_ms.eq(until_ms)))
        .on_conflict(id_reservations::node)
        .do_update()
        .set(id_reservations::until_ms.eq(until_ms))
        .execute(conn)
        .map_err(fault)?;
    Ok(before.unwrap_or(0))
}

pub(super) fn next_terms(conn: &mut SqliteConnection, shards: &[Shard]) -> StoreResult<Vec<Term>> {
    shards.iter().map(|shard| next_term(conn, *shard)).collect()
}

fn next_term(conn: &mut SqliteConnection, shard: Shard) -> StoreResult<Term> {
    let term: i64 = diesel::insert_into(shard_terms::table)
        .values((shard_terms::shard.eq(i64::from(shard.0)), shard_terms::term.eq(1)))
        .on_conflict(shard_terms::shard)
        .do_update()
        .set(shard_terms::term.eq(shard_terms::term + 1))
        .returning(shard_terms::term)
        .get_result(conn)
        .map_err(fault)?;
    Ok(Term(term.cast_unsigned()))
}

pub(super) fn raise_terms(conn: &mut SqliteConnection, terms: &[(Shard, Term)]) -> StoreResult<()> {
    for (shard, term) in terms {
        RaiseTerm { shard: i64::from(shard.0), term: term.0.cast_signed() }.execute(conn).map_err(fault)?;
    }
    Ok(())
}

/// The log lies in the same file: it has an epoch since the store was opened, and it is the accounts' too.
pub(super) fn log_epoch(conn: &mut SqliteConnection, wanted: Epoch) -> StoreResult<Epoch> {
    let stored: Option<i64> = store_info::table.select(store_info::epoch).get_result(conn).map_err(fault)?;
    if let Some(epoch) = stored {
        return Ok(Epoch(epoch.cast_unsigned()));
    }
    put_log_epoch(conn, wanted)?;
    Ok(wanted)
}

/// The log itself answers with it from the next opening on.
pub(super) fn put_log_epoch(conn: &mut SqliteConnection, epoch: Epoch) -> StoreResult<()> {
    PutEpoch { epoch: Some(epoch.0.cast_signed()) }.execute(conn).map(|_| ()).map_err(fault)
}
