//! Backends of the four ports.
pub mod clustered;
pub mod copy;
pub mod embedded;
mod placeholders;
