DROP INDEX users_by_arrival;
ALTER TABLE users DROP COLUMN added_in;
