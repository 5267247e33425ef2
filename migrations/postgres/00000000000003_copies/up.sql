-- The embedded store that was, or is being, copied into this cluster (`chinwag copy`). One row at most. While it isn't finished no node
-- starts. Times are Unix milliseconds.
CREATE TABLE copies (
    one            SMALLINT PRIMARY KEY CHECK (one = 1),
    -- Which store: the name of its log, and of its last start.
    source_epoch   BIGINT   NOT NULL,
    source_boot_id BYTEA    NOT NULL,
    -- Where the messages go, and the name that the log there had before it got the source's.
    keyspace       TEXT     NOT NULL,
    keyspace_epoch BIGINT   NOT NULL,
    begun_at_ms    BIGINT   NOT NULL,
    -- The logs of all conversations up to this one are copied; the others may be.
    logs_done      BIGINT,
    finished_at_ms BIGINT
);
