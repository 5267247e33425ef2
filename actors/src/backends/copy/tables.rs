//! The tables of accounts that are copied row by row: the same columns in both stores, under nearly the same names.

use std::cmp::Ordering;

use chinwag_schema::tables::sqlite;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query, sql_types};
use sha2::Sha256;
use tokio_postgres::{Row, types::ToSql};

use super::canonical::Canonical;

/// A column.
pub(crate) struct Column {
    /// Its name on Postgres.
    pub target: &'static str,
    /// Its type there.
    pub sql_type: &'static str,
}

/// Values of one column, for a statement that takes an array of each.
pub(crate) type Values = Box<dyn ToSql + Sync + Send>;

/// A row of a table.
pub(crate) trait Table: Send + Sync + 'static + Sized {
    /// The name of the table, in both stores.
    const NAME: &'static str;
    const COLUMNS: &'static [Column];
    /// The primary key on Postgres.
    const KEY: &'static [&'static str];

    /// Reads a page from the embedded store: rows after this one, by ascending key.
    fn source_page(conn: &mut SqliteConnection, after: Option<&Self>, limit: usize) -> QueryResult<Vec<Self>>;
    /// Returns the columns of rows.
    fn values(rows: &[Self]) -> Vec<Values>;
    /// Reads a row from Postgres, with the columns in their order.
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error>;
    /// Returns the key, for a statement.
    fn key(&self) -> Vec<&(dyn ToSql + Sync)>;
    /// Compares keys as both stores order them.
    fn compare_keys(&self, other: &Self) -> Ordering;
    /// Names the row, without its secrets.
    fn describe(&self) -> String;
    /// Names the columns in which another row differs.
    fn differences(&self, other: &Self) -> Vec<&'static str>;
    /// Adds the row to a checksum.
    fn feed(&self, sum: &mut Sha256);
}

/// Shows a part of a key.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        self.clone()
    }
}

impl Shown for Vec<u8> {
    fn shown(&self) -> String {
        self.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>() + "…"
    }
}

macro_rules! tables {
    ($(
        $(#[$doc:meta])*
        $name:ident of $table:ident, key ($($key:ident: $key_type:ident as $key_column:literal),+) {
            $($field:ident: $ty:ty => $column:literal $sql_type:literal,)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, PartialEq, Eq, QueryableByName)]
            #[diesel(table_name = sqlite::$table)]
            pub(crate) struct $name {
                $(pub $field: $ty,)*
            }

            impl Table for $name {
                const NAME: &'static str = stringify!($table);
                const COLUMNS: &'static [Column] = &[$(Column { target: $column, sql_type: $sql_type }),*];
                const KEY: &'static [&'static str] = &[$($key_column),+];

                fn source_page(conn: &mut SqliteConnection, after: Option<&Self>, limit: usize) -> QueryResult<Vec<Self>> {
                    let columns = [$(stringify!($field)),*].join(", ");
                    let keys = [$(stringify!($key)),+];
                    let (table, key, marks) = (Self::NAME, keys.join(", "), keys.map(|_| "?").join(", "));
                    match after {
                        None => sql_query(format!("SELECT {columns} FROM {table} ORDER BY {key} LIMIT {limit}")).load(conn),
                        Some(row) => {
                            sql_query(format!("SELECT {columns} FROM {table} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {limit}"))
                                $(.bind::<sql_types::$key_type, _>(row.$key.clone()))+
                                .load(conn)
                        }
                    }
                }

                fn values(rows: &[Self]) -> Vec<Values> {
                    vec![$(Box::new(rows.iter().map(|row| row.$field.clone()).collect::<Vec<$ty>>())),*]
                }

                fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
                    let mut at = 0..;
                    Ok(Self { $($field: row.try_get(at.next().unwrap_or_default())?,)* })
                }

                fn key(&self) -> Vec<&(dyn ToSql + Sync)> {
                    vec![$(&self.$key),+]
                }

                fn compare_keys(&self, other: &Self) -> Ordering {
                    ($(&self.$key,)+).cmp(&($(&other.$key,)+))
                }

                fn describe(&self) -> String {
                    let key = [$(format!("{} {}", stringify!($key), self.$key.shown())),+];
                    format!("{}: {}", Self::NAME, key.join(", "))
                }

                fn differences(&self, other: &Self) -> Vec<&'static str> {
                    let fields = [$((stringify!($field), self.$field == other.$field)),*];
                    fields.into_iter().filter(|(_, same)| !same).map(|(field, _)| field).collect()
                }

                fn feed(&self, sum: &mut Sha256) {
                    $(self.$field.feed(sum);)*
                }
            }
        )*
    };
}

tables! {
    /// Accounts with what proves them.
    UserRow of users, key (id: BigInt as "id") {
        id: i64 => "id" "bigint",
        name: String => "name" "text",
        display_name: Option<String> => "display_name" "text",
        created_at_ms: i64 => "created_at_ms" "bigint",
        last_seen_ms: Option<i64> => "last_seen_ms" "bigint",
        banned: bool => "banned" "boolean",
        password_hash: String => "password_hash" "text",
        tokens_valid_from_ms: i64 => "tokens_valid_from_ms" "bigint",
    }

    /// Sessions that can be renewed.
    RefreshTokenRow of refresh_tokens, key (hash: Binary as "hash") {
        hash: Vec<u8> => "hash" "bytea",
        family: i64 => "family" "bigint",
        user: i64 => "user_id" "bigint",
        expires_at_ms: i64 => "expires_at_ms" "bigint",
        spent: bool => "spent" "boolean",
    }

    /// Access tokens that are void before their time.
    RevokedTokenRow of revoked_tokens, key (jti: Text as "jti") {
        jti: String => "jti" "text",
        expires_at_ms: i64 => "expires_at_ms" "bigint",
    }

    /// Rooms, groups and one-to-one chats.
    ConversationRow of conversations, key (id: BigInt as "id") {
        id: i64 => "id" "bigint",
        kind: i16 => "kind" "smallint",
        name: Option<String> => "name" "text",
        created_by: i64 => "created_by" "bigint",
        created_at_ms: i64 => "created_at_ms" "bigint",
        user_lo: Option<i64> => "user_lo" "bigint",
        name_lo: Option<String> => "name_lo" "text",
        user_hi: Option<i64> => "user_hi" "bigint",
        name_hi: Option<String> => "name_hi" "text",
        member_count: i64 => "member_count" "bigint",
    }

    /// Members with their cursors.
    MemberRow of members, key (conversation: BigInt as "conversation", user: BigInt as "user_id") {
        conversation: i64 => "conversation" "bigint",
        user: i64 => "user_id" "bigint",
        name: String => "name" "text",
        role: i16 => "role" "smallint",
        state: i16 => "state" "smallint",
        delivered_seq: i64 => "delivered_seq" "bigint",
        delivered_messages: i64 => "delivered_messages" "bigint",
        delivered_own: i64 => "delivered_own" "bigint",
        read_seq: i64 => "read_seq" "bigint",
        read_messages: i64 => "read_messages" "bigint",
        read_own: i64 => "read_own" "bigint",
    }
}
