-- In which transaction an account was added (NULL: before this migration), so that nodes can ask for those they don't know yet
-- (backends/clustered/lookups). Only the server gives such a number in an order that a snapshot can be compared with: ids and times
-- are made by the nodes, and commits may come late. The older program's INSERT gets the default too.
--
-- This takes the whole table's lock, for no time; the index, which takes some, is migration 4.
ALTER TABLE users ADD COLUMN added_in BIGINT;
ALTER TABLE users ALTER COLUMN added_in SET DEFAULT txid_current();
