//! Backends of the four ports.
pub mod clustered;
pub mod embedded;
mod placeholders;
