//! `auth`: guests by name alone, registered users with a token or a password.

use chinwag_schema::{
    error::{ClientError, ErrorCode as Code},
    model::Name,
    wire::rooms::{AuthFailure, ErrorCode, ErrorInfo, Login, ServerFrame, UserInfo, error_of},
};
use tokio::sync::oneshot;

use super::{Io, RoomsSession, entrance, fail, send, wait};
use crate::{
    directory::DirectoryMessage,
    session::{authenticator::Identity, dialect::store_error},
};

/// Carries out an `auth`. A socket stays who it is: a second one is refused.
pub(super) fn auth(login: Login, io: &mut Io<'_, '_>) {
    if io.caller.is_some() {
        return fail(ErrorInfo::invalid("Already authenticated"), io);
    }
    let Login { username, token, password } = login;
    if let Some(token) = token {
        let verified = io.node.authenticator().verify(&token.0);
        return identified(&username, verified, io);
    }
    if let Some(password) = password {
        let (authenticator, address) = (io.node.authenticator().clone(), io.address.clone());
        let login = async move {
            let identity = authenticator.login(&username, &password.0, &address).await;
            (username, identity)
        };
        return wait(io, login, |(username, identity), _, io| identified(&username, identity, io));
    }
    if !io.node.settings.guests {
        // The same for names that are registered and names that aren't.
        let message = "A token or password is required".to_owned();
        return send(&ServerFrame::AuthError { error: AuthFailure { code: ErrorCode::Unauthorized, message } }, io);
    }
    guest(username.into(), io);
}

/// Lets the owner of a name in, if the credentials are those of that name.
fn identified(username: &str, identity: Result<Identity, ClientError>, io: &mut Io<'_, '_>) {
    match identity {
        Ok(identity) if &*identity.name == username => enter(identity, io),
        Ok(_) => send(&ServerFrame::auth_error(), io),
        Err(error) => match error.code {
            Code::Unauthorized | Code::Forbidden | Code::NotFound | Code::BadRequest | Code::TooLarge => {
                send(&ServerFrame::auth_error(), io);
            }
            _ => fail(error_of(&error), io),
        },
    }
}

/// Lets a guest in, unless an account has the name.
fn guest(name: Name, io: &mut Io<'_, '_>) {
    let accounts = io.node.accounts.clone();
    let look_up = async move {
        let wanted = name.clone();
        let found = accounts.call("user_by_name", move |store| async move { store.user_by_name(&wanted).await }).await;
        (name, found)
    };
    wait(io, look_up, |(name, found), _: &mut RoomsSession, io| match found {
        Err(error) => fail(error_of(&store_error(&error)), io),
        Ok(Some(_)) => {
            let text = "Username is registered: a token or password is required";
            fail(ErrorInfo::new(ErrorCode::UserExists, text).field("username"), io);
        }
        Ok(None) => take_name(name, io),
    });
}

fn take_name(name: Name, io: &mut Io<'_, '_>) {
    let (reply, answer) = oneshot::channel();
    let told = io.node.directory.tell(DirectoryMessage::Guest { name: name.clone(), reply }).is_ok();
    wait(io, entrance::asked(told, answer), move |user, _, io| match user {
        Some(Ok(user)) => {
            enter(Identity { user, name, display_name: None, guest: true, token_id: None, expires_at_ms: None }, io);
        }
        Some(Err(error)) => fail(error_of(&error), io),
        None => fail(error_of(&ClientError::internal()), io),
    });
}

fn enter(identity: Identity, io: &mut Io<'_, '_>) {
    let user = UserInfo { user_id: identity.user, username: identity.name.clone() };
    if entrance::enter(identity, io) {
        send(&ServerFrame::AuthSuccess { user }, io);
    }
}
