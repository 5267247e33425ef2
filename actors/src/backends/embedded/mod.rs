//! Embedded backends: SQLite in one data directory, directory and bus in process.
