//! permessage-deflate.

use super::{chats, rooms};

/// Texts beyond the server's threshold, so that their frames are compressed.
const LONG_BYTES: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_are_heard_in_rooms() {
    rooms::mixed_room(true, LONG_BYTES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_are_heard_one_to_one() {
    chats::pairs(true, LONG_BYTES).await;
}
