-- Random keys, each wrapped by a key derived from the master key. `purpose` is "seal" or
-- "fingerprint"; `id` and `purpose` are bound to `wrapped` as associated data.
CREATE TABLE data_keys (
    id         BLOB    NOT NULL PRIMARY KEY,
    purpose    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    wrapped    BLOB    NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT, WITHOUT ROWID;

-- One row per card and format. `card_print` and `token_print` are the keyed fingerprints of the
-- card's digits and of the token's text, so that no card number is ever a parameter of a statement.
CREATE TABLE tokens (
    id          INTEGER NOT NULL PRIMARY KEY,
    token       TEXT    NOT NULL UNIQUE,
    token_print BLOB    NOT NULL UNIQUE,
    card_print  BLOB    NOT NULL,
    format      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    data_key    BLOB    NOT NULL REFERENCES data_keys (id),
    sealed      BLOB    NOT NULL,
    brand       TEXT    NOT NULL,
    last_four   TEXT    NOT NULL,
    created_at  INTEGER NOT NULL DEFAULT (unixepoch()),
    UNIQUE (card_print, format)
) STRICT;

-- Written by the health check, to learn whether the disk takes writes again.
CREATE TABLE heartbeat (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    beat_at INTEGER NOT NULL
) STRICT;
