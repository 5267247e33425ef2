//! Commands of the program that don't serve.

pub mod user;
