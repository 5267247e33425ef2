-- The first schema of the embedded store. Times are Unix milliseconds; ids are snowflakes (64 bits, signed here).

-- One row. `oldest_reader` is the schema version that a program must know at least to use this store.
CREATE TABLE store_info (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    oldest_reader INTEGER NOT NULL,
    epoch         INTEGER,
    boot_id       BLOB
) STRICT;
INSERT INTO store_info (one, oldest_reader) VALUES (1, 1);

CREATE TABLE users (
    id                   INTEGER PRIMARY KEY,
    name                 TEXT    NOT NULL UNIQUE,
    display_name         TEXT,
    created_at_ms        INTEGER NOT NULL,
    last_seen_ms         INTEGER,
    banned               INTEGER NOT NULL DEFAULT 0,
    password_hash        TEXT    NOT NULL,
    tokens_valid_from_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX users_by_revocation ON users (tokens_valid_from_ms) WHERE tokens_valid_from_ms > 0;

-- A spent token stays until it expires, so that its reuse is noticed.
CREATE TABLE refresh_tokens (
    hash          BLOB    PRIMARY KEY,
    family        INTEGER NOT NULL,
    user          INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at_ms INTEGER NOT NULL,
    spent         INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at_ms);

CREATE TABLE revoked_tokens (
    jti           TEXT    PRIMARY KEY,
    expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at_ms);

-- kind: 0 room, 1 group, 2 one-to-one (user_lo < user_hi; account names never change, so they are kept here).
CREATE TABLE conversations (
    id            INTEGER PRIMARY KEY,
    kind          INTEGER NOT NULL,
    name          TEXT,
    created_by    INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    user_lo       INTEGER REFERENCES users (id),
    name_lo       TEXT,
    user_hi       INTEGER REFERENCES users (id),
    name_hi       TEXT,
    member_count  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX rooms_by_name ON conversations (name) WHERE kind = 0;
CREATE INDEX rooms_by_id ON conversations (id) WHERE kind = 0;
CREATE UNIQUE INDEX directs_by_pair ON conversations (user_lo, user_hi) WHERE kind = 2;

-- A member and its two pointers, each with the running totals at its position (0: not set yet).
CREATE TABLE members (
    conversation       INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    user               INTEGER NOT NULL REFERENCES users (id),
    name               TEXT    NOT NULL,
    role               INTEGER NOT NULL,
    state              INTEGER NOT NULL,
    delivered_seq      INTEGER NOT NULL DEFAULT 0,
    delivered_messages INTEGER NOT NULL DEFAULT 0,
    delivered_own      INTEGER NOT NULL DEFAULT 0,
    read_seq           INTEGER NOT NULL DEFAULT 0,
    read_messages      INTEGER NOT NULL DEFAULT 0,
    read_own           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user, conversation);

CREATE TABLE id_reservations (
    node     INTEGER PRIMARY KEY,
    until_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE shard_terms (
    shard INTEGER PRIMARY KEY,
    term  INTEGER NOT NULL
) STRICT;

-- The log. A checkpoint of each conversation: `head`, `messages` and `last_*` are as of the event `head`, and so are its rows of
-- `own_totals`; what came since is in `events`. `term`, and `oldest_*` of the first event that is still stored, are as of now.
CREATE TABLE log_heads (
    conversation INTEGER PRIMARY KEY,
    term         INTEGER NOT NULL,
    head         INTEGER NOT NULL,
    messages     INTEGER NOT NULL,
    oldest_seq   INTEGER NOT NULL,
    oldest_at_ms INTEGER,
    last_id      INTEGER NOT NULL,
    last_at_ms   INTEGER NOT NULL
) STRICT;
-- Retention walks this from its old end; it changes only when a log's first event does.
CREATE INDEX log_heads_by_age ON log_heads (oldest_at_ms) WHERE oldest_at_ms IS NOT NULL;

-- kind: 0 message, 1 edited, 2 deleted, 3 joined, 4 left. `content_digest` is of the text first sent.
CREATE TABLE events (
    conversation   INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    id             INTEGER NOT NULL,
    at_ms          INTEGER NOT NULL,
    kind           INTEGER NOT NULL,
    sender         INTEGER NOT NULL,
    sender_name    TEXT    NOT NULL,
    messages       INTEGER NOT NULL,
    own            INTEGER NOT NULL,
    client_id      BLOB,
    content        TEXT    NOT NULL,
    content_digest BLOB,
    target_seq     INTEGER,
    target_id      INTEGER,
    edited_at_ms   INTEGER,
    deleted        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

-- The client id leads: they are UUIDv7 and grow with time, so that the new ones of all conversations share a few pages.
CREATE TABLE message_ids (
    client_id    BLOB    NOT NULL,
    conversation INTEGER NOT NULL,
    sender       INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (client_id, conversation, sender)
) STRICT, WITHOUT ROWID;

-- Messages of each sender up to the conversation's checkpoint (`log_heads.head`), those that retention removed included.
CREATE TABLE own_totals (
    conversation INTEGER NOT NULL,
    sender       INTEGER NOT NULL,
    own          INTEGER NOT NULL,
    PRIMARY KEY (conversation, sender)
) STRICT, WITHOUT ROWID;
