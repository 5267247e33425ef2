//! Rates and spam rules that sessions ask before a command reaches a conversation.
//!
//! One [`Protection`] per node, shared by all sessions on all threads. It takes the time from its callers, so that tests run on a
//! fake clock, and knows users only by id. Limits per network address live in the server, which knows addresses.

mod rates;
mod spam;

use std::time::Duration;

use chinwag_schema::{ids::UserId, wire::Dialect};
use tokio::time::Instant;

pub use rates::{KeyedRates, Rate, Wait};
pub use spam::{SpamReason, SpamSettings, tripped};

/// Users whose rates are remembered at once; beyond it the ones that were quiet longest are forgotten.
const USERS_MAX: usize = 100_000;

/// What sessions are held to.
#[derive(Debug, Clone, PartialEq)]
pub struct ProtectionSettings {
    /// `false` switches everything here off (`--unlimited`).
    pub enabled: bool,
    /// Messages of one user in the rooms dialect.
    pub rooms_messages: Rate,
    /// How long a user who exceeded `rooms_messages` stays blocked.
    pub rooms_block: Duration,
    /// Messages of one user in the messenger dialect and the native protocol; no block.
    pub messages: Rate,
    /// Rooms created by one user.
    pub room_creation: Rate,
    /// Commands of one user in the rooms dialect, and other reads that cost more than a message.
    pub commands: Rate,
    pub spam: SpamSettings,
}

impl Default for ProtectionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            rooms_messages: Rate::new(10, Duration::from_secs(1)),
            rooms_block: Duration::from_secs(60),
            messages: Rate::new(100, Duration::from_secs(1)),
            room_creation: Rate::new(5, Duration::from_secs(3600)),
            commands: Rate::new(20, Duration::from_secs(60)),
            spam: SpamSettings::default(),
        }
    }
}

/// The rates and spam rules of one node. `now` is the clock's monotonic time.
pub struct Protection {
    settings: ProtectionSettings,
    rooms_messages: KeyedRates<UserId>,
    messages: KeyedRates<UserId>,
    room_creation: KeyedRates<UserId>,
    commands: KeyedRates<UserId>,
    recent: spam::Recent,
}

impl Protection {
    /// Makes the state of these settings.
    pub fn new(settings: ProtectionSettings) -> Self {
        Self {
            rooms_messages: KeyedRates::new(settings.rooms_messages, USERS_MAX).block_for(settings.rooms_block),
            messages: KeyedRates::new(settings.messages, USERS_MAX),
            room_creation: KeyedRates::new(settings.room_creation, USERS_MAX),
            commands: KeyedRates::new(settings.commands, USERS_MAX),
            recent: spam::Recent::new(USERS_MAX),
            settings,
        }
    }

    /// Counts a message (or edit) of this user. `Err` says how long to wait; a refused message counts for nothing else.
    pub fn message(&self, dialect: Dialect, user: UserId, now: Instant) -> Result<(), Wait> {
        match dialect {
            Dialect::Rooms => self.take(&self.rooms_messages, user, now),
            Dialect::Messenger | Dialect::Native | Dialect::Presence => self.take(&self.messages, user, now),
        }
    }

    /// Counts a room that this user is about to create.
    pub fn create_room(&self, user: UserId, now: Instant) -> Result<(), Wait> {
        self.take(&self.room_creation, user, now)
    }

    /// Counts a command of this user.
    pub fn command(&self, user: UserId, now: Instant) -> Result<(), Wait> {
        self.take(&self.commands, user, now)
    }

    /// Judges a message by the spam rules and remembers it as one of the user's last five when it passes.
    ///
    /// `Err` carries the reasons when at least [`SpamSettings::trips`] rules tripped.
    pub fn spam(&self, user: UserId, content: &str, now: Instant) -> Result<(), Vec<SpamReason>> {
        if !self.settings.enabled {
            return Ok(());
        }
        self.recent.judge(&self.settings.spam, user, content, now)
    }

    /// Returns how much was refused so far, by rule: for metrics.
    pub fn refused(&self) -> [(&'static str, u64); 5] {
        [
            ("rooms_messages", self.rooms_messages.refused()),
            ("messages", self.messages.refused()),
            ("room_creation", self.room_creation.refused()),
            ("commands", self.commands.refused()),
            ("spam", self.recent.refused()),
        ]
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> &ProtectionSettings {
        &self.settings
    }

    fn take(&self, rates: &KeyedRates<UserId>, user: UserId, now: Instant) -> Result<(), Wait> {
        if self.settings.enabled { rates.take(user, now) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);

    #[test]
    fn rooms_messages_block_for_a_minute_and_messenger_ones_only_until_the_window_has_room() {
        let protection = Protection::new(ProtectionSettings::default());
        let now = Instant::now();
        for _ in 0..10 {
            protection.message(Dialect::Rooms, ANN, now).unwrap();
        }
        assert_eq!(protection.message(Dialect::Rooms, ANN, now), Err(Wait(Duration::from_secs(60))));
        for _ in 0..100 {
            protection.message(Dialect::Messenger, ANN, now).unwrap();
        }
        assert_eq!(protection.message(Dialect::Messenger, ANN, now), Err(Wait(Duration::from_secs(1))));
        assert!(protection.message(Dialect::Messenger, ANN, now + Duration::from_secs(1)).is_ok());
        assert!(protection.message(Dialect::Rooms, UserId(2), now).is_ok(), "another user is not concerned");
    }

    #[test]
    fn room_creation_and_commands_have_their_own_rates() {
        let protection = Protection::new(ProtectionSettings::default());
        let now = Instant::now();
        for _ in 0..5 {
            protection.create_room(ANN, now).unwrap();
        }
        assert_eq!(protection.create_room(ANN, now), Err(Wait(Duration::from_secs(3600))));
        for _ in 0..20 {
            protection.command(ANN, now).unwrap();
        }
        assert!(protection.command(ANN, now).is_err());
        assert_eq!(protection.refused()[2..4], [("room_creation", 1), ("commands", 1)]);
    }

    #[test]
    fn unlimited_switches_everything_off() {
        let protection = Protection::new(ProtectionSettings { enabled: false, ..Default::default() });
        let now = Instant::now();
        for _ in 0..1000 {
            protection.message(Dialect::Rooms, ANN, now).unwrap();
            protection.create_room(ANN, now).unwrap();
            protection.spam(ANN, "BUY BUY BUY BUY BUY http://bit.ly/x", now).unwrap();
        }
    }

    #[test]
    fn one_protection_serves_all_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Protection>();
    }
}
