-- Which number a node of this name has, for ever: it is part of every id that the node makes (10 bits).
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY CHECK (node BETWEEN 0 AND 1023),
    name TEXT    NOT NULL UNIQUE
) STRICT;
