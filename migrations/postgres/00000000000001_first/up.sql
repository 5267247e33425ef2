-- The first schema of the cluster's accounts. Times are Unix milliseconds; ids are snowflakes (64 bits, signed here).
--
-- Names are compared byte by byte (COLLATE "C"), as the embedded store does: an index on them then doesn't depend on the C library of
-- the machine, whose order may change with an upgrade. Columns that name a user are called user_id because `user`, unquoted, is a
-- function here. Rows that change often leave room in their page (fillfactor), so that the new version needs no entry in an index.

-- One row. `oldest_reader` is the schema version that a program must know at least to use this store. `log_epoch` is the epoch of the
-- message store that these accounts belong to.
CREATE TABLE store_info (
    one           SMALLINT PRIMARY KEY CHECK (one = 1),
    oldest_reader BIGINT   NOT NULL,
    log_epoch     BIGINT
);
INSERT INTO store_info (one, oldest_reader) VALUES (1, 1);

CREATE TABLE users (
    id                   BIGINT   PRIMARY KEY,
    name                 TEXT     COLLATE "C" NOT NULL,
    display_name         TEXT,
    created_at_ms        BIGINT   NOT NULL,
    last_seen_ms         BIGINT,
    banned               BOOLEAN  NOT NULL DEFAULT FALSE,
    password_hash        TEXT     NOT NULL,
    tokens_valid_from_ms BIGINT   NOT NULL DEFAULT 0,
    CONSTRAINT users_by_name UNIQUE (name)
) WITH (fillfactor = 85);
CREATE INDEX users_by_revocation ON users (tokens_valid_from_ms) WHERE tokens_valid_from_ms > 0;

-- A spent token stays until it expires, so that its reuse is noticed.
CREATE TABLE refresh_tokens (
    hash          BYTEA    PRIMARY KEY,
    family        BIGINT   NOT NULL,
    user_id       BIGINT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at_ms BIGINT   NOT NULL,
    spent         BOOLEAN  NOT NULL DEFAULT FALSE
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at_ms);

CREATE TABLE revoked_tokens (
    jti           TEXT     COLLATE "C" PRIMARY KEY,
    expires_at_ms BIGINT   NOT NULL
);
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at_ms);

-- kind: 0 room, 1 group, 2 one-to-one (user_lo < user_hi; account names never change, so they are kept here).
CREATE TABLE conversations (
    id            BIGINT   PRIMARY KEY,
    kind          SMALLINT NOT NULL,
    name          TEXT     COLLATE "C",
    created_by    BIGINT   NOT NULL,
    created_at_ms BIGINT   NOT NULL,
    user_lo       BIGINT   REFERENCES users (id),
    name_lo       TEXT     COLLATE "C",
    user_hi       BIGINT   REFERENCES users (id),
    name_hi       TEXT     COLLATE "C",
    member_count  BIGINT   NOT NULL DEFAULT 0
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX rooms_by_name ON conversations (name) WHERE kind = 0;
CREATE INDEX rooms_by_id ON conversations (id) WHERE kind = 0;
CREATE UNIQUE INDEX directs_by_pair ON conversations (user_lo, user_hi) WHERE kind = 2;

-- A member and its two pointers, each with the running totals at its position (0: not set yet).
CREATE TABLE members (
    conversation       BIGINT   NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    user_id            BIGINT   NOT NULL REFERENCES users (id),
    name               TEXT     COLLATE "C" NOT NULL,
    role               SMALLINT NOT NULL,
    state              SMALLINT NOT NULL,
    delivered_seq      BIGINT   NOT NULL DEFAULT 0,
    delivered_messages BIGINT   NOT NULL DEFAULT 0,
    delivered_own      BIGINT   NOT NULL DEFAULT 0,
    read_seq           BIGINT   NOT NULL DEFAULT 0,
    read_messages      BIGINT   NOT NULL DEFAULT 0,
    read_own           BIGINT   NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, user_id)
) WITH (fillfactor = 75);
CREATE INDEX members_by_user ON members (user_id, conversation);

-- Which number a node of this name has, for ever: it is part of every id that the node makes (10 bits).
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY CHECK (node BETWEEN 0 AND 1023),
    name TEXT    COLLATE "C" NOT NULL UNIQUE
);

-- Until when a node has reserved time for its ids, and what it had reserved before that.
CREATE TABLE id_reservations (
    node      INTEGER PRIMARY KEY,
    before_ms BIGINT  NOT NULL,
    until_ms  BIGINT  NOT NULL
);

CREATE TABLE shard_terms (
    shard SMALLINT PRIMARY KEY,
    term  BIGINT   NOT NULL
);
