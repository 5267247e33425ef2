//! Statements that are prepared once per connection.

/// Declares a statement that diesel prepares once per connection.
///
/// Diesel's own update, upsert and `sql_query` builders are marked as not to be cached, since their text may vary; each would cost a
/// second round trip and be planned anew. Each `?` stands for the next field, in order; a wrong number of them doesn't compile. After
/// `->` stand the types of the columns that come back.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $(<$lt:lifetime>)? { $($field:ident: $rust:ty as $sql_type:ty),* $(,)? }, $sql:expr) => {
        statement! { $(#[$doc])* $name $(<$lt>)? { $($field: $rust as $sql_type),* } -> diesel::sql_types::Untyped, $sql }
    };
    (
        $(#[$doc:meta])* $name:ident $(<$lt:lifetime>)? { $($field:ident: $rust:ty as $sql_type:ty),* $(,)? } -> $out:ty, $sql:expr
    ) => {
        $(#[$doc])*
        pub(super) struct $name $(<$lt>)? { $(pub(super) $field: $rust),* }

        const _: () = {
            use diesel::{
                pg::Pg,
                query_builder::{AstPass, Query, QueryFragment, QueryId},
            };

            pub struct Id;

            const FIELDS: &[&str] = &[$(stringify!($field)),*];
            const PARTS: [&str; FIELDS.len() + 1] = $crate::backends::placeholders::parts($sql);

            impl $(<$lt>)? QueryId for $name $(<$lt>)? {
                type QueryId = Id;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl $(<$lt>)? QueryFragment<Pg> for $name $(<$lt>)? {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
                    let mut parts = PARTS.iter();
                    out.push_sql(parts.next().unwrap_or(&""));
                    $(
                        out.push_bind_param::<$sql_type, _>(&self.$field)?;
                        out.push_sql(parts.next().unwrap_or(&""));
                    )*
                    Ok(())
                }
            }

            impl $(<$lt>)? Query for $name $(<$lt>)? {
                type SqlType = $out;
            }
        };
    };
}
pub(super) use statement;
