//! Tables of the SQL stores, as diesel sees them. One file per database: their types and their migrations differ.

pub mod postgres;
pub mod sqlite;
