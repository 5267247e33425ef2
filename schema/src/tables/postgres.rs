//! The tables of the cluster's accounts; `migrations/postgres` makes them and says what the columns mean.
//!
//! Those that are only ever named in statements written out (`backends/clustered/postgres`) aren't listed.

use diesel::{allow_tables_to_appear_in_same_query, table};

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
    members (conversation, user_id) {
        conversation -> BigInt,
        user_id -> BigInt,
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

allow_tables_to_appear_in_same_query!(conversations, members);
