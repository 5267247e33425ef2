//! Making a connection: where to, what it is told first, and what is said when there is none.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::timeout;
use tokio_postgres::{Client, Socket, error::SqlState};

use super::{
    PostgresError, PostgresOptions,
    options::Target,
    tls::{Secured, Tls},
};

/// Where to connect to, and how.
#[derive(Clone)]
pub(super) struct Connector {
    target: Target,
    tls: Tls,
    /// What each connection is told first.
    settings: String,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::parse(options)?;
        let tls = Tls::new(&target.proof)?;
        let statement_ms = options.statement_timeout.as_millis();
        // A node that is paused inside a transaction would keep its locks for ever: hence the timeout when idle in one. Transactions
        // check conditions after they have locked a row, which needs READ COMMITTED. A commit waits for its fsync, and for the
        // standbys if the database was set up so (invariant 1).
        let settings = format!(
            "SELECT set_config('statement_timeout', '{statement_ms}', false), \
                    set_config('idle_in_transaction_session_timeout', '{}', false), \
                    set_config('default_transaction_isolation', 'read committed', false), \
                    set_config('jit', 'off', false), \
                    set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
                        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
            statement_ms * 2,
        );
        Ok(Self { target, tls, settings })
    }

    /// Returns hosts and database, for messages.
    pub(super) fn at(&self) -> &str {
        &self.target.shown
    }

    /// Makes a connection and runs it on the current runtime.
    async fn client(&self) -> Result<(Client, tokio_postgres::Connection<Socket, Secured<Socket>>), Refusal> {
        match timeout(self.target.connect_deadline(), self.target.config.connect(self.tls.clone())).await {
            Ok(made) => made.map_err(|error| Refusal::of(&error)),
            Err(_) => Err(Refusal {
                reason: format!("no answer within {:?}", self.target.connect_deadline()),
                advice: "check host and port in the URL, and what may lie between (a firewall, a router)",
            }),
        }
    }

    /// Makes a connection of its own for statements that aren't the store's (migrations).
    pub(super) async fn plain(&self) -> Result<Client, PostgresError> {
        let (client, connection) = self.client().await.map_err(|refusal| refusal.at(self.at()))?;
        // Its errors are told to whoever waits for an answer.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// Makes a connection for the pool, and runs it on the current runtime.
    pub(super) async fn diesel(self) -> Result<AsyncPgConnection, Refusal> {
        let (client, connection) = self.client().await?;
        let setup = async {
            let db = AsyncPgConnection::try_from_client_and_connection(client, connection).await;
            let db = db.map_err(|error| error.to_string())?;
            (&db).batch_execute(&self.settings).await.map_err(|error| error.to_string())?;
            Ok(db)
        };
        let reason = match timeout(self.target.connect_deadline(), setup).await {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer to the first statement".to_owned(),
        };
        Err(Refusal { reason, advice: "look into the server's log" })
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) advice: &'static str,
}

impl Refusal {
    fn of(error: &tokio_postgres::Error) -> Self {
        let advice = match error.code() {
            Some(&(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION)) => {
                "check user and password in the URL, and the server's pg_hba.conf"
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => "make the database first (CREATE DATABASE), or name another one",
            Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                "raise the server's max_connections, or lower the connections that each node may have"
            }
            Some(&SqlState::CANNOT_CONNECT_NOW) => "it is starting or stopping: wait",
            Some(_) => "look into the server's log",
            None => "check that it runs, and host, port and sslmode in the URL",
        };
        Self { reason: chain(error), advice }
    }

    fn at(self, at: &str) -> PostgresError {
        PostgresError::Connect { at: at.to_owned(), reason: self.reason, advice: self.advice }
    }
}

/// Returns an error with what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}
