-- For those that the nodes don't know yet (migration 2). It reads the table once, with next to nothing to store: some seconds per ten
-- million accounts, in which everybody reads and nobody registers.
CREATE INDEX users_by_arrival ON users (added_in, id) WHERE added_in IS NOT NULL;
