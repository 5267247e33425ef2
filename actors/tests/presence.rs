//! Who counts as online, and from when on.

mod common;

use chinwag_actors::directory::{DirectoryMessage, OpenedSocket};
use chinwag_schema::{
    ids::{NodeId, Slot},
    wire::Dialect,
};
use common::{Engine, run};

#[test]
fn who_asks_after_a_socket_opened_sees_its_user_online() {
    run(async || {
        let engine = Engine::start().await;
        let ann = engine.account("ann").await;
        let slot = Slot { node: NodeId(1), worker: 0, generation: 9, index: 99 };
        let (dialect, token_id, expires_at_ms) = (Dialect::Messenger, None, None);
        let opened =
            OpenedSocket { slot, user: ann.user, name: ann.name, dialect, guest: false, token_id, expires_at_ms };
        // In one turn: neither the directory nor presence runs in between.
        engine.node.directory.tell(DirectoryMessage::Opened(opened)).unwrap();
        let answer = engine.node.ask_presence(vec![ann.user]).unwrap();
        assert!(answer.await.unwrap()[0].online);
    });
}
