DROP INDEX users_by_arrival;
