-- Gives a place back and counts what came of it.
--
-- KEYS  for each account: its failures, its places, its lock
-- ARGV  1     the name of the place
--       2     failure, neutral or success
--       3, 4  so long failures are remembered, in microseconds, and so many lock
--       5     how long a lock holds, in milliseconds
-- Gives the numbers of the accounts that this locked, from 0.
local window, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newly = {}

local function exact(number)
  return string.format('%.0f', number)
end

for account = 1, #KEYS, 3 do
  local failures, places, lock = KEYS[account], KEYS[account + 1], KEYS[account + 2]
  local held = redis.call('ZREM', places, ARGV[1])
  if ARGV[2] == 'success' then
    redis.call('DEL', failures)
  -- A place that was held for too long counts as a failure already. And an attempt admitted before
  -- a lock may fail after it: that does not prolong the lock.
  elseif ARGV[2] == 'failure' and held == 1 and redis.call('PTTL', lock) <= 0 then
    redis.call('ZREMRANGEBYSCORE', failures, '-inf', exact(now - window))
    redis.call('ZADD', failures, exact(now), ARGV[1])
    redis.call('PEXPIRE', failures, exact(math.ceil(window / 1000)))
    if redis.call('ZCARD', failures) >= most then
      redis.call('SET', lock, '', 'PX', ARGV[5])
      redis.call('DEL', failures)
      newly[#newly + 1] = (account - 1) / 3
    end
  end
end
return newly
