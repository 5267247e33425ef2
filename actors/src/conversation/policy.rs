//! What the kinds of conversation do differently: who may do what. Pure; everything else is common to all kinds.

use chinwag_schema::error::{ClientError, ErrorCode};

use super::messages::Caller;
use crate::runtime::Kind;

/// Rules of a kind of conversation. `member` says whether the caller is a member.
pub trait Policy: 'static {
    /// Name of the actor kind.
    const KIND: Kind;
    /// Whether anyone may listen for as long as a socket lives.
    const LISTENABLE: bool;
    /// Whether users join and leave by themselves.
    const JOINABLE: bool;

    /// Reading: history, information, resuming.
    fn may_read(caller: &Caller, member: bool) -> Result<(), ClientError>;

    /// Posting, typing, changing own messages.
    fn may_post(caller: &Caller, member: bool) -> Result<(), ClientError> {
        Self::may_read(caller, member)
    }

    /// Joining.
    fn may_join(caller: &Caller) -> Result<(), ClientError> {
        if caller.guest {
            return Err(ClientError::new(ErrorCode::Forbidden, "guests can't become members; register first"));
        }
        if Self::JOINABLE { Ok(()) } else { Err(unknown()) }
    }
}

/// To those who may not see it, a conversation doesn't exist.
pub(super) fn unknown() -> ClientError {
    ClientError::new(ErrorCode::NotFound, "no such conversation")
}

fn members_only(member: bool) -> Result<(), ClientError> {
    if member { Ok(()) } else { Err(unknown()) }
}

/// Public rooms: anyone may listen, read and post.
pub struct Room;

impl Policy for Room {
    const KIND: Kind = "room";
    const LISTENABLE: bool = true;
    const JOINABLE: bool = true;

    fn may_read(_caller: &Caller, _member: bool) -> Result<(), ClientError> {
        Ok(())
    }
}

/// Groups: for their members; whoever knows the id may join.
pub struct Group;

impl Policy for Group {
    const KIND: Kind = "group";
    const LISTENABLE: bool = false;
    const JOINABLE: bool = true;

    fn may_read(_caller: &Caller, member: bool) -> Result<(), ClientError> {
        members_only(member)
    }
}

/// One-to-one chats: for the two.
pub struct Direct;

impl Policy for Direct {
    const KIND: Kind = "direct";
    const LISTENABLE: bool = false;
    const JOINABLE: bool = false;

    fn may_read(_caller: &Caller, member: bool) -> Result<(), ClientError> {
        members_only(member)
    }
}
