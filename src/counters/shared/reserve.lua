-- Takes a place for one attempt under every limit at once, or says which one has none.
--
-- KEYS  1     when the network's attempts are paid for
--       2…    for each account: when its attempts are paid for, its failures, its places, its lock
-- ARGV  1     the name of the place
--       2     how long a place is held at most
--       3, 4  so long failures are remembered, and so many lock
--       5, 6  the network's attempts: one each so long, and so many at once
--       7, 8  the same for an account
-- All times are in microseconds, by the server's clock. Gives the reason and the wait.
local lease, window, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function exact(number)
  return string.format('%.0f', number)
end

-- The first write must be one that a full server refuses: after another one it would let all pass.
if KEYS[4] then redis.call('ZADD', KEYS[4], 'XX', 0, '') end

-- GCRA: every attempt is paid for one interval later than the one before it.
local function take(key, interval, burst)
  local debt = math.max(tonumber(redis.call('GET', key) or 0) - now, 0)
  local wait = debt - interval * (burst - 1)
  if wait > 0 then return wait end
  local paid = debt + interval
  redis.call('SET', key, exact(now + paid), 'PX', exact(math.ceil(paid / 1000)))
end

-- Whether one more attempt may still fail without passing the limit.
local function admits(account)
  local failures, places, lock = KEYS[account + 1], KEYS[account + 2], KEYS[account + 3]
  local locked = redis.call('PTTL', lock)
  if locked > 0 then return 'locked', locked * 1000 end
  -- A place that nobody gave back, because its instance has died, is a failure: hanging up is no
  -- way to guess for nothing.
  local overdue = redis.call('ZRANGEBYSCORE', places, '-inf', exact(now), 'WITHSCORES')
  for each = 1, #overdue, 2 do
    redis.call('ZADD', failures, overdue[each + 1], overdue[each])
    redis.call('PEXPIRE', failures, exact(math.ceil(window / 1000)))
    redis.call('ZREM', places, overdue[each])
  end
  redis.call('ZREMRANGEBYSCORE', failures, '-inf', exact(now - window))
  local failed, held = redis.call('ZCARD', failures), redis.call('ZCARD', places)
  if failed + held < most then return end
  if failed < most then return 'in_flight', 1000000 end
  -- A reload has lowered the limit: the oldest failures must pass out of the window first.
  local surplus = failed - most
  local last = redis.call('ZRANGE', failures, surplus, surplus, 'WITHSCORES')[2]
  return 'locked', last + window - now
end

-- Locks are looked at before anything is taken: they give the longest and truest wait.
for account = 2, #KEYS, 4 do
  local reason, wait = admits(account)
  if reason then return { reason, exact(wait) } end
end
local wait = take(KEYS[1], tonumber(ARGV[5]), tonumber(ARGV[6]))
if wait then return { 'network_limit', exact(wait) } end
for account = 2, #KEYS, 4 do
  local reason, wait = 'account_limit', take(KEYS[account], tonumber(ARGV[7]), tonumber(ARGV[8]))
  if wait then
    for earlier = 2, account - 4, 4 do
      redis.call('ZREM', KEYS[earlier + 2], ARGV[1])
    end
    return { reason, exact(wait) }
  end
  redis.call('ZADD', KEYS[account + 2], exact(now + lease), ARGV[1])
  redis.call('PEXPIRE', KEYS[account + 2], exact(math.ceil((lease + window) / 1000)))
end
return { 'admitted', '0' }
