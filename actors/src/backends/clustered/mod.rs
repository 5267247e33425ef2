//! Backends of the four ports for many nodes: services that all of them reach.
pub mod lookups;
pub mod postgres;
pub mod redis;
pub mod scylla;
