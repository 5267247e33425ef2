//! Compares what was sent and acknowledged with what was received and with the history read afterwards.

pub mod history;
pub mod ledger;
