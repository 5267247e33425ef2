//! Accounts over the real store: what holds, what ends, and who hears of it.

use chinwag_schema::error::ErrorCode;

use super::{
    admin::Ban,
    testing::{Fixture, Told, address},
    *,
};
use crate::auth::refresh;

const ANN: (&str, &str) = ("ann", "secret1");

async fn with_ann() -> (Fixture, UserId) {
    let fixture = Fixture::new().await;
    let ann = fixture.register(ANN.0, ANN.1).await;
    (fixture, ann)
}

async fn login(fixture: &Fixture) -> Session {
    fixture.login(ANN.0, ANN.1).await.unwrap()
}

#[actix_rt::test]
async fn a_login_proves_who_somebody_is() {
    let (fixture, ann) = with_ann().await;
    let session = login(&fixture).await;
    let identity = fixture.accounts.verify_token(&session.access_token).unwrap();
    assert_eq!((identity.user, &*identity.name), (ann, "ann"));
    assert!(fixture.accounts.still_valid(&identity));
    fixture.clock.advance(fixture.config.access_token_ttl);
    assert_eq!(fixture.accounts.verify_token(&session.access_token), Err(TokenError::Expired));
    assert!(!fixture.accounts.still_valid(&identity));
}

#[actix_rt::test]
async fn names_are_trimmed_composed_and_taken_once() {
    let fixture = Fixture::new().await;
    fixture.register("  zoe\u{308} ", "secret1").await;
    assert!(fixture.login("zo\u{eb}", "secret1").await.is_ok());
    assert!(fixture.login(" zo\u{eb} ", "secret1").await.is_ok());
    let again = fixture.accounts.register("zo\u{eb}", "secret1", address(1)).await.unwrap_err();
    assert_eq!((again.code, again.message.as_str()), (ErrorCode::AlreadyExists, "Username already exists"));
    fixture.register("ZO\u{eb}", "secret1").await;
}

#[actix_rt::test]
async fn unknown_wrong_and_banned_get_the_same_answer() {
    let (fixture, _) = with_ann().await;
    let wrong = fixture.login("ann", "wrong-one").await.err().unwrap();
    let unknown = fixture.login("nobody", "wrong-one").await.err().unwrap();
    let impossible = fixture.login("a\u{7}", "wrong-one").await.err().unwrap();
    fixture.accounts.set_banned("ann", Ban::Set).await.unwrap();
    let banned = fixture.login("ann", "secret1").await.err().unwrap();
    assert_eq!(wrong, unknown);
    assert_eq!(wrong, impossible);
    assert_eq!(wrong, banned);
    assert_eq!((wrong.code, wrong.message.as_str()), (ErrorCode::Unauthorized, "Invalid username or password"));
}

#[actix_rt::test]
async fn guessing_is_throttled_alike_for_known_and_unknown_names_and_the_owner_gets_in() {
    let (fixture, _) = with_ann().await;
    for name in ["ann", "nobody"] {
        for _ in 0..10 {
            assert_eq!(fixture.login(name, "wrong-one").await.err().unwrap().code, ErrorCode::Unauthorized);
        }
        let refused = fixture.login(name, "wrong-one").await.err().unwrap();
        assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::RateLimited, Some(60_000)));
    }
    assert!(fixture.accounts.login("ann", "secret1", address(2)).await.is_ok(), "the owner is elsewhere");
    fixture.clock.advance(std::time::Duration::from_secs(60));
    assert!(fixture.login("ann", "secret1").await.is_ok(), "and here a minute later");
}

#[actix_rt::test]
async fn refresh_rotates_and_a_spent_token_ends_its_family() {
    let (fixture, ann) = with_ann().await;
    let (first, other) = (login(&fixture).await, login(&fixture).await);
    let second = fixture.accounts.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.identity.family, first.identity.family);
    assert!(fixture.accounts.verify_token(&second.access_token).is_ok());
    assert!(fixture.told().is_empty());

    let reused = fixture.accounts.refresh(&first.refresh_token).await.err().unwrap();
    assert_eq!(reused.code, ErrorCode::Unauthorized);
    assert_eq!(fixture.told(), [Told::User(ann, RevokedReason::RefreshTokenReused)]);
    assert!(fixture.accounts.refresh(&second.refresh_token).await.is_err(), "the thief's successor is void too");
    assert_eq!(fixture.accounts.verify_token(&second.access_token), Err(TokenError::Revoked));
    assert!(fixture.accounts.verify_token(&other.access_token).is_ok(), "another login isn't concerned");
    assert!(fixture.accounts.refresh(&other.refresh_token).await.is_ok());
}

#[actix_rt::test]
async fn refresh_tokens_expire_and_nonsense_is_refused() {
    let (fixture, _) = with_ann().await;
    let session = login(&fixture).await;
    for bad in ["", "nonsense", &session.access_token, &refresh::generate().text] {
        assert_eq!(fixture.accounts.refresh(bad).await.err().unwrap().code, ErrorCode::Unauthorized);
    }
    fixture.clock.advance(fixture.config.refresh_token_ttl);
    assert!(fixture.accounts.refresh(&session.refresh_token).await.is_err());
}

#[actix_rt::test]
async fn logout_ends_the_login_here_after_a_restart_and_tells() {
    let (fixture, ann) = with_ann().await;
    let session = login(&fixture).await;
    let successor = fixture.accounts.refresh(&session.refresh_token).await.unwrap();
    fixture.accounts.logout(&session.identity).await.unwrap();
    let jti = session.identity.jti.to_string();
    assert_eq!(fixture.told(), [Told::Token(jti), Told::User(ann, RevokedReason::LoggedOut)]);
    let restarted = fixture.restarted().await;
    for accounts in [&*fixture.accounts, &restarted] {
        assert_eq!(accounts.verify_token(&session.access_token), Err(TokenError::Revoked));
        assert_eq!(accounts.verify_token(&successor.access_token), Err(TokenError::Revoked));
        assert!(accounts.refresh(&successor.refresh_token).await.is_err());
    }
    login(&fixture).await;
}

#[actix_rt::test]
async fn a_new_password_ends_everything_before_it() {
    let (fixture, ann) = with_ann().await;
    let (old, phone) = (login(&fixture).await, login(&fixture).await);
    let new = fixture.accounts.change_password(&old.identity, "secret1", "secret2", address(1)).await.unwrap();
    assert_eq!(fixture.told(), [Told::User(ann, RevokedReason::PasswordChanged)]);
    let restarted = fixture.restarted().await;
    for accounts in [&*fixture.accounts, &restarted] {
        for ended in [&old, &phone] {
            assert_eq!(accounts.verify_token(&ended.access_token), Err(TokenError::Revoked));
            assert!(accounts.refresh(&ended.refresh_token).await.is_err());
        }
        assert!(accounts.verify_token(&new.access_token).is_ok(), "in the same millisecond");
    }
    assert!(fixture.login("ann", "secret1").await.is_err());
    assert!(fixture.login("ann", "secret2").await.is_ok());
    assert!(fixture.accounts.refresh(&new.refresh_token).await.is_ok());
}

#[actix_rt::test]
async fn a_password_change_needs_the_current_one_and_a_fit_new_one() {
    let (fixture, _) = with_ann().await;
    let session = login(&fixture).await;
    let change = async |current: &str, new: &str| {
        fixture.accounts.change_password(&session.identity, current, new, address(1)).await.err().unwrap()
    };
    let wrong = change("wrong-one", "secret2").await;
    assert_eq!((wrong.code, wrong.field.as_deref()), (ErrorCode::Forbidden, Some("current_password")));
    assert_eq!(change("secret1", "short").await.field.as_deref(), Some("new_password"));
    assert_eq!(change("secret1", &"x".repeat(1025)).await.code, ErrorCode::TooLarge);
    assert!(fixture.told().is_empty());
    assert!(fixture.accounts.verify_token(&session.access_token).is_ok());
    login(&fixture).await;
}

#[actix_rt::test]
async fn a_ban_ends_everything_and_lifting_it_does_not_revive_old_tokens() {
    let (fixture, ann) = with_ann().await;
    let session = login(&fixture).await;
    let ticket = fixture.accounts.ticket(&session.identity).unwrap();
    fixture.accounts.set_banned("ann", Ban::Set).await.unwrap();
    assert_eq!(fixture.told(), [Told::User(ann, RevokedReason::Banned)]);
    assert_eq!(fixture.accounts.verify_token(&session.access_token), Err(TokenError::Revoked));
    assert!(fixture.accounts.refresh(&session.refresh_token).await.is_err());
    assert_eq!(fixture.accounts.spend_ticket(&ticket), None);
    fixture.accounts.set_banned("ann", Ban::Lift).await.unwrap();
    assert_eq!(fixture.accounts.verify_token(&session.access_token), Err(TokenError::Revoked));
    login(&fixture).await;
}

#[actix_rt::test]
async fn what_was_issued_while_a_revocation_was_written_is_void_too() {
    let (fixture, ann) = with_ann().await;
    let session = login(&fixture).await;
    // The store is slow: between the time noted and the commit another request gets a token.
    let from_ms = fixture.accounts.revocation_time(ann);
    fixture.clock.advance(std::time::Duration::from_millis(50));
    let meanwhile = fixture.accounts.refresh(&session.refresh_token).await.unwrap();
    fixture.store.set_password(ann, "x", from_ms).await.unwrap();
    fixture.accounts.end_user(ann, from_ms, RevokedReason::PasswordChanged);
    assert_eq!(fixture.accounts.verify_token(&meanwhile.access_token), Err(TokenError::Revoked));
    assert!(fixture.accounts.refresh(&meanwhile.refresh_token).await.is_err());
}

#[actix_rt::test]
async fn a_ban_during_a_login_wins() {
    let (fixture, _) = with_ann().await;
    let (session, banned) =
        futures_util::future::join(fixture.login("ann", "secret1"), fixture.accounts.set_banned("ann", Ban::Set)).await;
    banned.unwrap();
    if let Ok(session) = session {
        assert_eq!(fixture.accounts.verify_token(&session.access_token), Err(TokenError::Revoked));
        assert!(fixture.accounts.refresh(&session.refresh_token).await.is_err());
    }
}

#[actix_rt::test]
async fn tickets_stand_for_their_login_once() {
    let (fixture, ann) = with_ann().await;
    let session = login(&fixture).await;
    let ticket = fixture.accounts.ticket(&session.identity).unwrap();
    assert_eq!(fixture.accounts.spend_ticket(&ticket).unwrap().user, ann);
    assert_eq!(fixture.accounts.spend_ticket(&ticket), None);
    let ticket = fixture.accounts.ticket(&session.identity).unwrap();
    fixture.accounts.logout(&session.identity).await.unwrap();
    assert_eq!(fixture.accounts.spend_ticket(&ticket), None, "the login ended meanwhile");
}

#[actix_rt::test]
async fn passwords_of_the_rooms_dialect_need_no_session() {
    let (fixture, ann) = with_ann().await;
    let identity = fixture.accounts.authenticate("ann", "secret1", address(1)).await.unwrap();
    assert_eq!(identity.user, ann);
    assert!(fixture.accounts.authenticate("ann", "wrong-one", address(1)).await.is_err());
    fixture.accounts.set_banned("ann", Ban::Set).await.unwrap();
    assert!(!fixture.accounts.still_valid(&identity));
}

#[actix_rt::test]
async fn registrations_are_limited_by_address() {
    let fixture = Fixture::with(|config| config.rates.registration.count = 2).await;
    for name in ["one", "two"] {
        fixture.accounts.register(name, "secret1", address(9)).await.unwrap();
    }
    let refused = fixture.accounts.register("three", "secret1", address(9)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.retry_after_ms.is_some());
    assert_eq!(fixture.user_names().await, ["one", "two"]);
}

#[actix_rt::test]
async fn a_flood_of_logins_hears_retry_later_and_is_not_counted_as_guessing() {
    let fixture = Fixture::with(|config| (config.password_hash_threads, config.password_hash_queue) = (1, 1)).await;
    fixture.register("ann", "secret1").await;
    let all = futures_util::future::join_all((0..8).map(|_| fixture.login("ann", "secret1"))).await;
    let busy = all.iter().filter_map(|result| result.as_ref().err()).collect::<Vec<_>>();
    assert!(!busy.is_empty() && busy.iter().all(|error| error.code == ErrorCode::Unavailable), "{busy:?}");
    login(&fixture).await;
}

#[actix_rt::test]
async fn expired_tokens_are_removed_from_the_store_and_from_memory() {
    let (fixture, _) = with_ann().await;
    let session = login(&fixture).await;
    fixture.accounts.logout(&session.identity).await.unwrap();
    assert!(!fixture.accounts.revocations.is_empty());
    fixture.clock.advance(fixture.config.refresh_token_ttl * 2);
    assert!(fixture.accounts.remove_expired().await.unwrap() > 0);
    assert!(fixture.accounts.revocations.is_empty());
}

#[actix_rt::test]
async fn what_other_nodes_revoke_counts_here() {
    let (fixture, ann) = with_ann().await;
    let (one, two) = (login(&fixture).await, login(&fixture).await);
    // As another node does.
    fixture.store.revoke_access_token(&one.identity.jti, one.identity.expires_at_ms).await.unwrap();
    let learnt = fixture.accounts.learn_revocations().await.unwrap();
    assert_eq!((learnt.tokens, learnt.users), (vec![one.identity.jti.to_string()], vec![]));
    assert_eq!(fixture.accounts.verify_token(&one.access_token), Err(TokenError::Revoked));
    assert!(fixture.accounts.verify_token(&two.access_token).is_ok());
    fixture.store.set_banned(ann, true, fixture.clock.unix_ms() + 1).await.unwrap();
    assert_eq!(fixture.accounts.learn_revocations().await.unwrap().users, [ann]);
    assert_eq!(fixture.accounts.verify_token(&two.access_token), Err(TokenError::Revoked));
    assert_eq!(fixture.accounts.learn_revocations().await.unwrap(), Learnt::default(), "each is told once");
    assert!(fixture.told().is_empty(), "who revoked has told everybody");
}
