//! How the servers that ours is compared with frame what clients say: pure, so that it is tested without any of them.

/// Something said, and how its answer is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The frame to send; `None`: the server speaks first.
    pub say: Option<String>,
    /// What the answer has in it; frames before it are passed over.
    pub until: &'static str,
}

impl Exchange {
    /// Makes an exchange that the client begins.
    pub fn of(say: impl Into<String>, until: &'static str) -> Self {
        Self { say: Some(say.into()), until }
    }
}

/// The text frames of one kind of server. Messages are found in what comes by their [`Mark`](crate::content::Mark), the same in all.
pub trait Dialect: Send + Sync {
    /// Returns the path of the WebSocket, with its query.
    fn path(&self) -> &'static str;

    /// Returns the subprotocol to ask for.
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    /// Returns what is said, in order, until the user of this name is known.
    fn greeting(&self, name: &str) -> Vec<Exchange>;

    /// Joins a room, so that its messages are heard from the answer on.
    fn join(&self, room: &str, name: &str) -> Exchange;

    /// Returns the frame of a message to a room.
    fn to_room(&self, room: &str, text: &str) -> String;

    /// Returns the frame of a message to a user.
    fn to_user(&self, user: &str, text: &str) -> String;

    /// Returns the answer that a frame demands of a live client.
    fn answer(&self, _frame: &str) -> Option<&'static str> {
        None
    }

    /// Says whether a frame refuses what was said before.
    fn refuses(&self, frame: &str) -> bool;
}

#[cfg(test)]
mod tests {
    use crate::{compare::Kind, content::Mark};

    #[test]
    fn a_message_is_found_in_every_servers_frames() {
        let mark = Mark { run: 7, sender: 3, n: 12, due_us: 345 };
        let text = mark.text(100);
        for dialect in Kind::RIVALS.map(|kind| kind.dialect().unwrap()) {
            for frame in [dialect.to_room("r", &text), dialect.to_user("ann", &text)] {
                assert_eq!(Mark::find(frame.as_bytes()), Some(mark), "{frame}");
            }
        }
    }
}
