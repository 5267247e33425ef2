-- In which transaction an account was added (NULL: before this migration), so that nodes can ask for those they don't know yet
-- (backends/clustered/lookups). Only the server gives such a number in an order that a snapshot can be compared with: ids and times
-- are made by the nodes, and commits may come late. The older program's INSERT gets the default too.
--
-- The column takes no time. The index reads the table once, without anything to store: some seconds per ten million accounts, in
-- which nobody registers.
ALTER TABLE users ADD COLUMN added_in BIGINT;
ALTER TABLE users ALTER COLUMN added_in SET DEFAULT txid_current();
CREATE INDEX users_by_arrival ON users (added_in, id) WHERE added_in IS NOT NULL;
