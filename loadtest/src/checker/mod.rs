//! Compares what was sent and acknowledged with what was received and with the history read afterwards.
//!
//! [`ledger`] is for runs whose messages carry marks and whose receivers are watched; [`history`] for a server that is killed, where only
//! the history is left to hold acknowledgements to, seq by seq.

mod compare;
pub mod history;
pub mod ledger;
mod read;
