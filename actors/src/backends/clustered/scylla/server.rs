//! The connection: calls, their errors, and what they have in common.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use chinwag_schema::limits::cql::REQUEST_TIMEOUT;
use futures_util::{StreamExt, stream};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    deserialize::row::DeserializeRow,
    errors::NewSessionError,
    policies::load_balancing::DefaultPolicy,
    response::{PagingState, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::{
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::{CqlValue, Row},
};

use super::{options::ScyllaOptions, statements::Levels};
use crate::ports::{StoreError, StoreResult};

/// How long a first connection, and each later one, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Values of one statement of a batch.
pub(super) type Values<'a> = Box<dyn SerializeRow + Send + Sync + 'a>;

/// Opens a session, yet without a keyspace.
pub(super) async fn open(options: &ScyllaOptions, levels: Levels) -> Result<Session, NewSessionError> {
    let mut balancing = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(levels.plain)
        .serial_consistency(Some(levels.serial))
        .request_timeout(Some(REQUEST_TIMEOUT))
        .load_balancing_policy(balancing.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .connection_timeout(CONNECT_TIMEOUT)
        .schema_agreement_timeout(Duration::from_secs(30))
        // What it says of keyspaces is only needed for replication.
        .fetch_full_schema_metadata(false)
        .default_execution_profile_handle(profile.into_handle());
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        builder = builder.user(user, password);
    }
    builder.build().await
}

/// A session with what all calls need.
pub(super) struct Server {
    pub session: Session,
    pub levels: Levels,
}

impl Server {
    /// Reads rows, page by page. Whoever calls bounds them, by a limit or by a bucket.
    pub(super) async fn rows<R>(&self, statement: &PreparedStatement, values: impl SerializeRow) -> StoreResult<Vec<R>>
    where
        R: for<'r> DeserializeRow<'r, 'r>,
    {
        let mut rows = Vec::new();
        let mut at = PagingState::start();
        loop {
            let (result, next) = self.session.execute_single_page(statement, &values, at).await.map_err(unavailable)?;
            let result = result.into_rows_result().map_err(corrupt)?;
            for row in result.rows::<R>().map_err(corrupt)? {
                rows.push(row.map_err(corrupt)?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(rows),
                ControlFlow::Continue(next) => at = next,
            }
        }
    }

    /// Reads a row that there is at most one of.
    pub(super) async fn row<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> StoreResult<Option<R>>
    where
        R: for<'r> DeserializeRow<'r, 'r>,
    {
        Ok(self.rows(statement, values).await?.pop())
    }

    /// Writes without a condition.
    pub(super) async fn write(&self, statement: &PreparedStatement, values: impl SerializeRow) -> StoreResult<()> {
        self.session.execute_unpaged(statement, values).await.map_err(unavailable)?;
        Ok(())
    }

    /// Writes with a condition; says whether it was applied. An error means that nobody knows.
    pub(super) async fn write_if(&self, statement: &PreparedStatement, values: impl SerializeRow) -> StoreResult<bool> {
        applied(self.session.execute_unpaged(statement, values).await.map_err(unavailable)?)
    }

    /// As [`Self::write_if`], several statements on one partition, all or none. The first must have a condition.
    pub(super) async fn batch_if(&self, statements: &[(&PreparedStatement, Values<'_>)]) -> StoreResult<bool> {
        // Not logged: it is one partition.
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_consistency(self.levels.plain);
        batch.set_serial_consistency(Some(self.levels.serial));
        batch.set_retry_policy(Some(Arc::new(scylla::policies::retry::FallthroughRetryPolicy::new())));
        let mut values = Vec::with_capacity(statements.len());
        for (statement, of) in statements {
            batch.append_statement((*statement).clone());
            values.push(of);
        }
        applied(self.session.batch(&batch, values).await.map_err(unavailable)?)
    }
}

/// Reads the one thing in the answer of a conditional write that all servers have in common.
pub(super) fn applied(result: QueryResult) -> StoreResult<bool> {
    let rows = result.into_rows_result().map_err(corrupt)?;
    let first: Row = rows.first_row().map_err(corrupt)?;
    match first.columns.first() {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        other => Err(StoreError::Corrupt(format!("a conditional write was answered with {other:?}"))),
    }
}

/// Runs calls, at most `limit` at once; results come in their order.
pub(super) async fn at_once<F: Future>(limit: usize, calls: Vec<F>) -> Vec<F::Output> {
    stream::iter(calls).buffered(limit).collect().await
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the log's servers: {error}"))
}

fn corrupt(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("an answer of the log's servers can't be read: {error}"))
}
