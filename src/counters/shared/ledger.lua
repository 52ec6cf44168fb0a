-- What is known of one subject, as in `local/ledger.rs`; all scripts begin with this.
--
-- A subject has two keys: its ledger, packed, and its places, a sorted set of `lease:tag` by when the
-- lease ends. All times are in microseconds, by the server's clock. Every key expires.
local DAY, ROW_MEMORY = 86400e6, 30 * 86400e6
local FAILURES_MAX, IN_FLIGHT_WAIT = 100, 1e6
local BARRED, DELAY, IN_FLIGHT, LOCKOUT, QUOTA = 1, 2, 3, 4, 5

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function exact(number)
  return string.format('%.0f', number)
end

-- Numbers of eight bytes; zero is what is not limited.
local function limit_of(packed)
  local limit = {}
  limit.binds_known, limit.tag, limit.interval, limit.count, limit.failures, limit.locks_at,
    limit.within, limit.lock, limit.ceiling, limit.first, limit.last, limit.accounts, limit.row =
    struct.unpack('>I8I8I8I8I8I8I8I8I8I8I8I8I8', packed)
  return limit
end

local function read(key)
  local packed = redis.call('GET', key)
  local all = packed and cmsgpack.unpack(packed) or { 0, 0, 0, 0, 0, 0, 0, {} }
  return {
    key = key, paid = all[1], locked = all[2], stale = all[3], row = all[4], level = all[5],
    locked_by = all[6], barred = all[7], log = all[8],
  }
end

local function write(ledger)
  local ends = math.max(ledger.paid, ledger.stale)
  if ledger.locked > 0 then ends = math.max(ends, ledger.locked + DAY) end
  if ends <= now then
    redis.call('DEL', ledger.key)
    return
  end
  local packed = cmsgpack.pack({
    ledger.paid, ledger.locked, ledger.stale, ledger.row, ledger.level, ledger.locked_by,
    ledger.barred, ledger.log,
  })
  redis.call('SET', ledger.key, packed, 'PX', exact(math.ceil((ends - now) / 1000)))
end

-- The log is a moment and a tag for each failure, the oldest first.
local function failed(ledger)
  return #ledger.log / 2
end

local function keep(ledger, so)
  local kept = {}
  for each = 1, #ledger.log, 2 do
    if so(ledger.log[each], ledger.log[each + 1]) then
      kept[#kept + 1] = ledger.log[each]
      kept[#kept + 1] = ledger.log[each + 1]
    end
  end
  ledger.log = kept
end

local function forget(ledger, within)
  if within > 0 and #ledger.log > 0 and ledger.log[1] + within <= now then
    keep(ledger, function(at) return at + within > now end)
  end
  if ledger.stale <= now then ledger.row = 0 end
end

local function spread(ledger)
  local seen, count = {}, 0
  for each = 2, #ledger.log, 2 do
    local tag = ledger.log[each]
    if not seen[tag] then seen[tag], count = true, count + 1 end
  end
  return count
end

-- How many locks there were within a day.
local function next_level(ledger)
  if ledger.locked > 0 and ledger.locked + DAY > now then
    return math.min(ledger.level + 1, 255)
  end
  return 0
end

-- Why one more attempt has no place beside those held, and for how long.
local function admits(ledger, held, limit)
  if ledger.locked > now then
    return ledger.barred == 1 and BARRED or LOCKOUT, ledger.locked - now
  end
  forget(ledger, limit.within)
  if limit.failures > 0 then
    local count = failed(ledger)
    if limit.first > 0 and count >= limit.failures then
      local delay = math.min(limit.first * 2 ^ (count - limit.failures), limit.last)
      local wait = ledger.log[#ledger.log - 1] + delay - now
      if wait > 0 then return DELAY, wait end
    end
    if limit.row > 0 and ledger.row + held >= limit.row then return IN_FLIGHT, IN_FLIGHT_WAIT end
    -- Once failures delay, one attempt at a time: those beside it would not have waited.
    local alone = count >= limit.failures and count < limit.locks_at and held == 0
    if count + held >= limit.failures and not alone then
      local others = spread(ledger)
      if others >= limit.accounts and count >= limit.locks_at then
        -- A reload has lowered the limit: the oldest failures must pass out of the window first.
        local surplus = count - limit.locks_at
        return LOCKOUT, math.max(ledger.log[2 * surplus + 1] + limit.within - now, 0)
      end
      if others + held >= limit.accounts then return IN_FLIGHT, IN_FLIGHT_WAIT end
    end
  end
  if limit.interval > 0 then
    -- GCRA: every attempt is paid for one interval later than the one before it.
    local debt, most = math.max(ledger.paid - now, 0), limit.interval * (limit.count - 1)
    if debt > most then return QUOTA, debt - most end
    if debt + held * limit.interval > most then return IN_FLIGHT, IN_FLIGHT_WAIT end
  end
end

local function lock(ledger, locks, wait, by)
  ledger.locked, ledger.locked_by, ledger.log = now + wait, by, {}
  redis.call('ZREMRANGEBYSCORE', locks, '-inf', exact(now))
  redis.call('ZADD', locks, exact(ledger.locked), ledger.key)
  redis.call('PEXPIRE', locks, exact(ROW_MEMORY / 1000))
end

-- Counts what a place was held for; whether a lock begins.
local function charge(ledger, limit, locks, tag, at)
  if limit.interval > 0 then ledger.paid = math.max(ledger.paid, at) + limit.interval end
  if limit.failures == 0 then return false end
  forget(ledger, limit.within)
  if limit.row > 0 then
    ledger.row, ledger.stale = ledger.row + 1, at + ROW_MEMORY
    if ledger.row >= limit.row and ledger.barred == 0 then
      ledger.barred = 1
      lock(ledger, locks, ROW_MEMORY, ledger.row)
      return true
    end
  end
  -- An attempt admitted before the lock may fail after it: that does not prolong the lock.
  if ledger.locked > now then return false end
  ledger.barred = 0
  if failed(ledger) >= FAILURES_MAX then
    table.remove(ledger.log, 1)
    table.remove(ledger.log, 1)
  end
  ledger.log[#ledger.log + 1] = at
  ledger.log[#ledger.log + 1] = tag
  ledger.stale = math.max(ledger.stale, at + limit.within)
  if failed(ledger) < limit.locks_at or spread(ledger) < limit.accounts then return false end
  ledger.level = next_level(ledger)
  local longest = math.max(limit.ceiling, limit.lock)
  lock(ledger, locks, math.min(limit.lock * 2 ^ ledger.level, longest), failed(ledger))
  return true
end
