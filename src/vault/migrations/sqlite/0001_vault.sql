-- Random keys. `purpose` is "seal", "fingerprint", "audit" or "accounts"; `number` is the order in
-- which they were made, and new rows are sealed under the latest of purpose "seal".
CREATE TABLE data_keys (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id         BLOB    NOT NULL UNIQUE,
    purpose    TEXT    NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

-- A data key wrapped by a master key: one row per pair, two per data key while the master key is
-- being replaced. `data_key`, its purpose and `version` are bound to `wrapped` as associated data.
CREATE TABLE key_wraps (
    data_key BLOB    NOT NULL REFERENCES data_keys (id) ON DELETE CASCADE,
    master   BLOB    NOT NULL,
    version  INTEGER NOT NULL,
    wrapped  BLOB    NOT NULL,
    PRIMARY KEY (data_key, master)
) STRICT, WITHOUT ROWID;

-- One row per card and format. `card_print` and `token_print` are the keyed fingerprints of the
-- card's digits and of the token's text, so that no card number is ever a parameter of a statement.
-- Of an erased row the token stays, never to be given again, and nothing of the card.
CREATE TABLE tokens (
    id          INTEGER NOT NULL PRIMARY KEY,
    token       TEXT    NOT NULL UNIQUE,
    token_print BLOB    NOT NULL UNIQUE,
    card_print  BLOB,
    format      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    data_key    BLOB    REFERENCES data_keys (id),
    sealed      BLOB,
    brand       TEXT,
    last_four   TEXT,
    created_at  INTEGER NOT NULL DEFAULT (unixepoch()),
    erased_at   INTEGER,
    UNIQUE (card_print, format),
    CHECK (CASE WHEN erased_at IS NULL
                THEN card_print IS NOT NULL AND data_key IS NOT NULL AND sealed IS NOT NULL
                     AND brand IS NOT NULL AND last_four IS NOT NULL
                ELSE coalesce(card_print, data_key, sealed, brand, last_four) IS NULL END)
) STRICT;

-- Which rows a data key still seals. Rows of one key follow each other, so new ones go to its end.
CREATE INDEX tokens_by_data_key ON tokens (data_key);

-- Written by the health check, to learn whether the disk takes writes again.
CREATE TABLE heartbeat (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    beat_at INTEGER NOT NULL
) STRICT;
