//! Texts that clients of the messenger dialect match or show.

/// `NEW_ONE_TO_ONE_CHAT` without its fields.
pub const BOTH_USERNAMES: &str = "Both 'from' and 'to' usernames are required.";
pub const CHAT_MESSAGE_FIELDS: &str = "From username, to username, message content, and chat ID are required.";
pub const CHAT_HISTORY_FIELDS: &str = "From username, to username, and chat ID are required.";
pub const GROUP_CREATE_FIELDS: &str = "Group name and creator are required.";
pub const GROUP_MEMBER_FIELDS: &str = "Group ID and username are required.";
pub const GROUP_MESSAGE_FIELDS: &str = "Group ID, sender, and message content are required.";
pub const GROUP_ID: &str = "Group ID is required.";
pub const CHAT_WITH_ONESELF: &str = "You cannot start a chat with yourself.";
pub const OFFLINE_ACKNOWLEDGED: &str = "Offline messages acknowledged.";
pub const DISCONNECTED: &str = "You have been disconnected.";

/// `from`, `by` or `username` isn't the token's user.
pub fn not_you(field: &str) -> String {
    format!("'{field}' must be your own username.")
}

/// A `chatId` that isn't that of the two users.
pub const WRONG_CHAT_ID: &str = "Chat ID does not belong to these users.";

/// Reading or writing a group that one isn't a member of.
pub fn not_a_member(group_id: &str) -> String {
    format!("You are not a member of group {group_id}.")
}

pub fn user_unknown(name: &str) -> String {
    format!("User {name} does not exist.")
}

pub fn user_offline(name: &str) -> String {
    format!("User {name} is not online.")
}

pub fn chat_exists(name: &str) -> String {
    format!("Chat with {name} already exists.")
}

/// `msg` of `NEW_ONE_TO_ONE_CHAT_AP` to the other.
pub fn first_message(from: &str) -> String {
    format!("First message from {from}.")
}

/// `msg` of `NEW_ONE_TO_ONE_CHAT_AP` to the starter.
pub fn request_sent(to: &str) -> String {
    format!("Chat request sent to {to}.")
}

pub fn joined(name: &str) -> String {
    format!("User {name} has joined the group.")
}

pub fn left(name: &str) -> String {
    format!("User {name} has left the group.")
}

pub fn already_member(name: &str) -> String {
    format!("User {name} is already a member of the group.")
}

pub fn group_unknown(group_id: &str) -> String {
    format!("Group chat with ID {group_id} does not exist.")
}

/// `retry_after_ms` is rounded up to seconds.
pub fn rate_limited(retry_after_ms: u64) -> String {
    format!("Rate limit exceeded, retry in {} s.", retry_after_ms.div_ceil(1000))
}
