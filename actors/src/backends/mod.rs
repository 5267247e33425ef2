//! Backends of the four ports.
pub mod embedded;
