ALTER TABLE users DROP COLUMN added_in;
