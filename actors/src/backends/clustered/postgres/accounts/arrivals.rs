//! Which names there are, and which came since: what the filter of the look-ups is made from.

use async_trait::async_trait;
use chinwag_schema::{ids::UserId, model::Name, tables::postgres::users};
use diesel::{
    ExpressionMethods, QueryDsl,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    super::{fault::Outcome, statement::statement},
    PostgresAccounts, at_most,
};
use crate::{
    backends::clustered::lookups::{Arrival, Arrivals, Standing},
    ports::{StoreError, StoreResult},
};

type Columns = (BigInt, BigInt, BigInt, Nullable<BigInt>, Nullable<BigInt>, Nullable<Text>);
type Row = (i64, i64, i64, Option<i64>, Option<i64>, Option<String>);

statement! {
    /// One row at least. A statement has one snapshot, which all parts of it read by. Numbers not given yet are those of rows that came
    /// here from another server, in a dump: all of them were there when this server began. That `added_in` isn't null lets the partial
    /// index serve.
    Arrived { added_in: i64 as BigInt, id: i64 as BigInt, limit: i64 as BigInt } -> Columns,
    "SELECT now.life, now.settled, COALESCE((SELECT max(added_in) FROM users WHERE added_in < now.next), 0), \
            new.added_in, new.id, new.name \
     FROM (SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS life, \
                  txid_snapshot_xmin(txid_current_snapshot()) AS settled, \
                  txid_snapshot_xmax(txid_current_snapshot()) AS next) AS now \
     LEFT JOIN LATERAL (SELECT added_in, id, name FROM users \
                        WHERE added_in IS NOT NULL AND (added_in, id) > (?, ?) AND added_in < now.next \
                        ORDER BY added_in, id LIMIT ?) AS new ON TRUE \
     ORDER BY new.added_in, new.id"
}

async fn names(mut db: &AsyncPgConnection, after: UserId, limit: usize) -> Outcome<Vec<(UserId, Name)>> {
    let query = users::table
        .filter(users::id.gt(after.0))
        .order(users::id.asc())
        .limit(at_most(limit))
        .select((users::id, users::name));
    let found: Vec<(i64, String)> = query.load(&mut db).await?;
    Ok(found.into_iter().map(|(id, name)| (UserId(id), name.into())).collect())
}

async fn arrived(mut db: &AsyncPgConnection, after: (i64, UserId), limit: usize) -> Outcome<(Standing, Vec<Arrival>)> {
    let rows: Vec<Row> = Arrived { added_in: after.0, id: after.1.0, limit: at_most(limit) }.load(&mut db).await?;
    let Some(&(life, settled, newest, ..)) = rows.as_slice().first() else {
        return Err(StoreError::Corrupt("Postgres doesn't say how far its transactions are".to_owned()).into());
    };
    let new = rows.into_iter().filter_map(|(_, _, _, added_in, id, name)| {
        Some(Arrival { added_in: added_in?, id: UserId(id?), name: name?.into() })
    });
    Ok((Standing { life, settled, newest }, new.collect()))
}

#[async_trait]
impl Arrivals for PostgresAccounts {
    async fn names(&self, after: UserId, limit: usize) -> StoreResult<Vec<(UserId, Name)>> {
        self.pool.repeatable(|db| async move { names(&db, after, limit).await }).await
    }

    async fn arrived(&self, after: (i64, UserId), limit: usize) -> StoreResult<(Standing, Vec<Arrival>)> {
        self.pool.repeatable(|db| async move { arrived(&db, after, limit).await }).await
    }
}
