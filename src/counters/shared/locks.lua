-- Gives the ledgers of what is locked, those whose lock ends last first.
--
-- KEYS  1     what is locked, by when the lock ends
-- ARGV  1     how many at most
return redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. exact(now), 'LIMIT', 0, ARGV[1])
