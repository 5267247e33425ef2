//! The scenarios, and what all of them have in common.

pub mod chats;
pub mod churn;
pub mod community;
pub mod compare;
pub mod connect;
pub mod crash;
pub mod crowd;
pub mod direct;
pub mod fanout;
pub mod groups;
pub mod idle;
pub mod line;
pub mod mix;
pub mod prepare;
pub mod presence;
pub mod slow_reader;
pub mod soak;
pub mod stage;
pub mod steps;
pub mod storm;
pub mod talker;
