//! The embedded store's tables; `migrations/sqlite` makes them and says what the columns mean.

use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    store_info (one) {
        one -> BigInt,
        oldest_reader -> BigInt,
        epoch -> Nullable<BigInt>,
        boot_id -> Nullable<Binary>,
    }
}

table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        display_name -> Nullable<Text>,
        created_at_ms -> BigInt,
        last_seen_ms -> Nullable<BigInt>,
        banned -> Bool,
        password_hash -> Text,
        tokens_valid_from_ms -> BigInt,
    }
}

table! {
    refresh_tokens (hash) {
        hash -> Binary,
        family -> BigInt,
        user -> BigInt,
        expires_at_ms -> BigInt,
        spent -> Bool,
    }
}

table! {
    revoked_tokens (jti) {
        jti -> Text,
        expires_at_ms -> BigInt,
    }
}

table! {
    conversations (id) {
        id -> BigInt,
        kind -> SmallInt,
        name -> Nullable<Text>,
        created_by -> BigInt,
        created_at_ms -> BigInt,
        user_lo -> Nullable<BigInt>,
        name_lo -> Nullable<Text>,
        user_hi -> Nullable<BigInt>,
        name_hi -> Nullable<Text>,
        member_count -> BigInt,
    }
}

table! {
    members (conversation, user) {
        conversation -> BigInt,
        user -> BigInt,
        name -> Text,
        role -> SmallInt,
        state -> SmallInt,
        delivered_seq -> BigInt,
        delivered_messages -> BigInt,
        delivered_own -> BigInt,
        read_seq -> BigInt,
        read_messages -> BigInt,
        read_own -> BigInt,
    }
}

table! {
    nodes (node) {
        node -> BigInt,
        name -> Text,
    }
}

table! {
    id_reservations (node) {
        node -> BigInt,
        until_ms -> BigInt,
    }
}

table! {
    shard_terms (shard) {
        shard -> BigInt,
        term -> BigInt,
    }
}

table! {
    log_heads (conversation) {
        conversation -> BigInt,
        term -> BigInt,
        head -> BigInt,
        messages -> BigInt,
        oldest_seq -> BigInt,
        oldest_at_ms -> Nullable<BigInt>,
        last_id -> BigInt,
        last_at_ms -> BigInt,
    }
}

table! {
    events (conversation, seq) {
        conversation -> BigInt,
        seq -> BigInt,
        id -> BigInt,
        at_ms -> BigInt,
        kind -> SmallInt,
        sender -> BigInt,
        sender_name -> Text,
        messages -> BigInt,
        own -> BigInt,
        client_id -> Nullable<Binary>,
        content -> Text,
        content_digest -> Nullable<Binary>,
        target_seq -> Nullable<BigInt>,
        target_id -> Nullable<BigInt>,
        edited_at_ms -> Nullable<BigInt>,
        deleted -> Bool,
    }
}

table! {
    message_ids (client_id, conversation, sender) {
        client_id -> Binary,
        conversation -> BigInt,
        sender -> BigInt,
        seq -> BigInt,
    }
}

table! {
    own_totals (conversation, sender) {
        conversation -> BigInt,
        sender -> BigInt,
        own -> BigInt,
    }
}

allow_tables_to_appear_in_same_query!(conversations, members);
