//! Credentials that end while a socket enters.

mod common;

use chinwag_actors::session::authenticator::TokenId;
use chinwag_schema::wire::Dialect;
use common::{Engine, run};
use serde_json::json;

#[test]
fn a_token_revoked_before_its_socket_was_known_closes_the_socket() {
    run(async || {
        let engine = Engine::start().await;
        let mut ann = engine.account("ann").await;
        ann.token_id = Some(TokenId { id: "one".into(), family: 1, issued_at_ms: 1 });
        let before = engine.open(Dialect::Presence, Some(&ann));
        engine.settle().await;
        // Whoever revokes closes what the directory knows; the second socket was verified before and comes after.
        engine.revoke(&ann);
        for dialect in [Dialect::Presence, Dialect::Messenger] {
            engine.open(dialect, Some(&ann)).expect_frame(json!({"close": 4202})).await;
        }
        engine.settle().await;
        assert_eq!(before.come().iter().filter(|frame| frame["close"].is_u64()).count(), 0);
    });
}
