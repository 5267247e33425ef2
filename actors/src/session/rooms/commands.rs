//! `command`: `/rooms`, `/users`, `/help`, `/stats`, `/me`, `/clear`.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use chinwag_schema::{
    error::ClientError,
    wire::{
        rooms::{ListedRoom, ListedUser, Me, RoomsCommand, ServerFrame, ServerStats, Stats, UserStats, error_of},
        time::Iso,
    },
};

use super::{Io, RoomsSession, RoomsTag, StatsSoFar, Tag, fail, rate_limited, send, wait};
use crate::{
    cluster::gather,
    conversation::{board::RoomLine, messages::ConversationMessage},
    directory::{self, LISTED_USERS_MAX},
};

impl RoomsSession {
    pub(super) fn command(&mut self, command: RoomsCommand, io: &mut Io<'_, '_>) {
        if let Err(wait) = io.node.protection.command(io.caller().user, io.tools.now()) {
            return rate_limited(wait, io);
        }
        match command {
            RoomsCommand::Rooms { limit } => {
                if !io.node.cluster.has_peers() {
                    return room_list(io.node.board.list(limit, io.now_ms()), io);
                }
                wait(io, gather::rooms(io.node.clone(), limit), |lines, _: &mut RoomsSession, io| room_list(lines, io));
            }
            RoomsCommand::Users => self.users(io),
            RoomsCommand::Help => send(&ServerFrame::help(), io),
            RoomsCommand::Stats => self.stats(io),
            RoomsCommand::Me => send(&ServerFrame::me(self.me(io)), io),
            RoomsCommand::Clear => send(&ServerFrame::ClearScreen, io),
        }
    }

    fn users(&self, io: &mut Io<'_, '_>) {
        if let Some(room) = &self.room {
            let reply = io.reply_to(Tag::Rooms(RoomsTag::Users));
            let limit = LISTED_USERS_MAX;
            return io.tell(room.id, ConversationMessage::Listeners { from: io.caller(), limit, reply });
        }
        wait(io, gather::users(io.node.clone()), |users, _: &mut RoomsSession, io| match users {
            None => fail(error_of(&ClientError::internal()), io),
            Some(users) => {
                let users = listed_users(users);
                let count = users.len();
                send(&ServerFrame::UserList { room: None, users, count }, io);
            }
        });
    }

    fn stats(&self, io: &Io<'_, '_>) {
        let counters = &io.node.counters;
        let uptime_ms = u64::try_from(io.now_ms() - io.node.started_at_ms).unwrap_or(0);
        let server = ServerStats {
            active_connections: counters.sockets.iter().map(|count| count.load(Relaxed)).sum(),
            unique_users: counters.users.load(Relaxed),
            uptime: ServerStats::uptime(uptime_ms),
        };
        let user = UserStats {
            total_messages: self.messages,
            rooms_joined: self.rooms_joined,
            connected_since: Iso(io.opened_at_ms),
        };
        match &self.room {
            Some(room) => {
                let reply = io.reply_to(Tag::Rooms(RoomsTag::Stats(Arc::new(StatsSoFar { server, user }))));
                io.tell(room.id, ConversationMessage::Info { from: io.caller(), reply });
            }
            None => send(&ServerFrame::stats(Stats { server, user, current_room: None }), io),
        }
    }

    fn me(&self, io: &Io<'_, '_>) -> Me {
        let caller = io.caller();
        Me {
            user_id: caller.user,
            username: caller.name.clone(),
            current_room: self.room.as_ref().map_or_else(|| "None".to_owned(), |room| room.name.to_string()),
            connected_since: Iso(io.opened_at_ms),
            connection_id: io.slot.to_string(),
        }
    }
}

fn room_list(lines: Vec<RoomLine>, io: &Io<'_, '_>) {
    let rooms: Vec<_> = lines.into_iter().map(listed_room).collect();
    let count = rooms.len();
    send(&ServerFrame::RoomList { rooms, count }, io);
}

fn listed_room(line: RoomLine) -> ListedRoom {
    let RoomLine { name, users, messages, created_at_ms, .. } = line;
    ListedRoom { name, users, messages, created: Iso(created_at_ms) }
}

/// In order of their names: the directory knows none.
fn listed_users(mut users: Vec<directory::ListedUser>) -> Vec<ListedUser> {
    users.sort_by(|a, b| (&a.name, a.user).cmp(&(&b.name, b.user)));
    let listed = |user: directory::ListedUser| ListedUser {
        username: user.name,
        user_id: user.user,
        current_room: Some(user.room),
    };
    users.into_iter().map(listed).collect()
}

#[cfg(test)]
mod tests {
    use chinwag_schema::ids::UserId;

    use super::*;

    #[test]
    fn users_outside_a_room_are_listed_by_name_with_their_rooms() {
        let user = |user, name: &str, room: Option<&str>| directory::ListedUser {
            user: UserId(user),
            name: name.into(),
            room: room.map(Into::into),
        };
        let users = listed_users(vec![user(1, "bob", None), user(2, "ann", Some("den"))]);
        let text = serde_json::to_string(&users).unwrap();
        assert_eq!(
            text,
            r#"[{"username":"ann","userId":"2","currentRoom":"den"},{"username":"bob","userId":"1","currentRoom":null}]"#
        );
    }
}
