-- Gives the next keys of a pattern, and where to go on.
--
-- ARGV  1     where to go on
--       2     the pattern
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
