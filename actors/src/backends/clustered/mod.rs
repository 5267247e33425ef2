//! Backends of the four ports for many nodes: services that all of them reach.
pub mod redis;
pub mod scylla;
