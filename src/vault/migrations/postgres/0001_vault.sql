-- Random keys. `purpose` is "seal", "fingerprint", "audit" or "accounts"; `number` is the order in
-- which they were made, and new rows are sealed under the latest of purpose "seal".
CREATE TABLE data_keys (
    number     bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    id         bytea       NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    purpose    text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A data key wrapped by a master key: one row per pair, two per data key while the master key is
-- being replaced. `data_key`, its purpose and `version` are bound to `wrapped` as associated data.
CREATE TABLE key_wraps (
    data_key bytea    NOT NULL REFERENCES data_keys (id) ON DELETE CASCADE,
    master   bytea    NOT NULL CHECK (octet_length(master) = 16),
    version  smallint NOT NULL,
    wrapped  bytea    NOT NULL,
    PRIMARY KEY (data_key, master)
);

-- One row per card and format. `card_print` and `token_print` are the keyed fingerprints of the
-- card's digits and of the token's text, so that no card number is ever a parameter of a statement.
-- No index on `token`: its fingerprint is as unique as it is. Of an erased row the token stays,
-- never to be given again, and nothing of the card.
CREATE TABLE tokens (
    token_print bytea       NOT NULL PRIMARY KEY CHECK (octet_length(token_print) = 32),
    card_print  bytea       CHECK (octet_length(card_print) = 32),
    token       text        NOT NULL,
    format      text        NOT NULL,
    version     smallint    NOT NULL,
    data_key    bytea       REFERENCES data_keys (id),
    sealed      bytea,
    brand       text,
    last_four   text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    erased_at   timestamptz,
    UNIQUE (card_print, format),
    CHECK (CASE WHEN erased_at IS NULL
                THEN num_nulls(card_print, data_key, sealed, brand, last_four) = 0
                ELSE num_nonnulls(card_print, data_key, sealed, brand, last_four) = 0 END)
);

-- Which rows a data key still seals.
CREATE INDEX tokens_by_data_key ON tokens (data_key);

-- Written by the health check, to learn whether the server takes writes again.
CREATE TABLE heartbeat (
    id      smallint    NOT NULL PRIMARY KEY CHECK (id = 1),
    beat_at timestamptz NOT NULL
);

-- Keeps all rows that can be kept, in order, and says of each what happened. A function, so that a
-- group is one round trip and no lock ever waits for a client.
--
-- No index forbids that one row's card is another's token. Whoever writes therefore first takes a
-- lock for the first two bytes of each fingerprint, in ascending order, and holds it until its rows
-- are committed: two that could contradict each other go one after the other, no two wait for each
-- other, and all others commit side by side. The server's table of locks is small, so a large group
-- (more than 64 rows) takes the one lock instead that all others share.
CREATE FUNCTION keep_tokens(
    tokens text[], token_prints bytea[], card_prints bytea[], formats text[], versions smallint[],
    keys bytea[], sealeds bytea[], brands text[], last_fours text[]
) RETURNS TABLE (outcome text, kept text) LANGUAGE plpgsql AS $$
DECLARE
    new record;
BEGIN
    IF cardinality(tokens) > 64 THEN
        PERFORM pg_advisory_xact_lock(1953066092, 65536);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1953066092, 65536);
        PERFORM pg_advisory_xact_lock(1953066092, bucket)
           FROM (SELECT DISTINCT get_byte(print, 0) * 256 + get_byte(print, 1) AS bucket
                   FROM unnest(token_prints || card_prints) AS print
                  ORDER BY bucket) AS buckets;
    END IF;
    -- A key that is locked stays until the rows under it are committed.
    PERFORM FROM data_keys AS k WHERE k.id = ANY (keep_tokens.keys)
      ORDER BY k.id FOR KEY SHARE;
    -- At "read committed" each statement from here on sees what others committed before the lock.
    -- Nearly every group is new in all its parts, and is then kept at once.
    IF (SELECT count(DISTINCT print) FROM unnest(token_prints || card_prints) AS print)
           = cardinality(token_prints) + cardinality(card_prints)
       AND NOT EXISTS (SELECT FROM tokens AS t
                        WHERE t.token_print = ANY (token_prints || card_prints))
       AND NOT EXISTS (SELECT FROM tokens AS t
                        WHERE t.card_print = ANY (token_prints || card_prints))
       AND NOT EXISTS (SELECT FROM unnest(keep_tokens.keys) AS wanted
                        WHERE NOT EXISTS (SELECT FROM data_keys AS k WHERE k.id = wanted))
    THEN
        INSERT INTO tokens AS t (token, token_print, card_print, format, version, data_key, sealed,
                                 brand, last_four)
        SELECT * FROM unnest(tokens, token_prints, card_prints, formats, versions, keep_tokens.keys,
                             sealeds, brands, last_fours);
        RETURN QUERY
        SELECT 'created', row.token
          FROM unnest(tokens) WITH ORDINALITY AS row (token, place)
         ORDER BY row.place;
        RETURN;
    END IF;
    FOR new IN
        SELECT *
          FROM unnest(tokens, token_prints, card_prints, formats, versions, keep_tokens.keys,
                      sealeds, brands, last_fours)
          WITH ORDINALITY AS row (token, token_print, card_print, format, version, data_key,
                                  sealed, brand, last_four, place)
         ORDER BY place
    LOOP
        INSERT INTO tokens AS t (token, token_print, card_print, format, version, data_key, sealed,
                                 brand, last_four)
        SELECT new.token, new.token_print, new.card_print, new.format, new.version, new.data_key,
               new.sealed, new.brand, new.last_four
         WHERE NOT EXISTS (SELECT FROM tokens AS t WHERE t.card_print = new.token_print)
           AND NOT EXISTS (SELECT FROM tokens AS t WHERE t.token_print = new.card_print)
           AND EXISTS (SELECT FROM data_keys AS k WHERE k.id = new.data_key)
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            outcome := 'created';
            kept := new.token;
        ELSIF EXISTS (SELECT FROM tokens AS t WHERE t.token_print = new.card_print) THEN
            outcome := 'is_token';
            kept := NULL;
        ELSE
            SELECT t.token INTO kept FROM tokens AS t
             WHERE t.card_print = new.card_print AND t.format = new.format;
            IF FOUND THEN
                outcome := 'known';
            ELSIF EXISTS (SELECT FROM data_keys AS k WHERE k.id = new.data_key) THEN
                outcome := 'token_taken';
            ELSE
                outcome := 'key_gone';
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
