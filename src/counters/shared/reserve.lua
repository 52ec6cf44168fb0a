-- Takes a place for one attempt under every subject at once, or says which has none.
--
-- KEYS  1     whether the network is known for the account
--       2     what is locked, by when the lock ends
--       3…    for each subject its ledger and its places
-- ARGV  1     the name of the place
--       2     how long a place is held at most
--       3     1 where a known network counts for something, 2 where the instance knows this one
--       4     1 where the first subject is a device: then it is the only one, or none of them
--       5…    the limit of each subject
-- Gives 1, 2 or 3 for a device, a known network or a stranger who is admitted; or 0, the subject
-- that refuses longest, its rule and the wait.
local lease, subjects, dirty = tonumber(ARGV[2]), {}, {}
local first, last = 1, #ARGV - 4

-- The first write must be one that a full server refuses: after another one it would let all pass.
redis.call('ZADD', KEYS[4], 'XX', 0, '')

local function look(nth)
  local ledger, places = read(KEYS[2 * nth + 1]), KEYS[2 * nth + 2]
  local subject = { ledger = ledger, places = places, limit = limit_of(ARGV[nth + 4]) }
  -- A place that nobody gave back, because its instance has died, counts: hanging up is no way to
  -- guess for nothing.
  local overdue = redis.call('ZRANGEBYSCORE', places, '-inf', exact(now), 'WITHSCORES')
  for each = 1, #overdue, 2 do
    local tag = tonumber(string.match(overdue[each], '%d+$'))
    charge(ledger, subject.limit, KEYS[2], tag, tonumber(overdue[each + 1]))
    redis.call('ZREM', places, overdue[each])
    dirty[nth] = ledger
  end
  subject.rule, subject.wait = admits(ledger, redis.call('ZCARD', places), subject.limit)
  subjects[nth] = subject
  return subject
end

local trust
if ARGV[4] == '1' then
  if not look(1).rule then trust, last = 1, 1 else first = 2 end
end
if not trust then
  local known = ARGV[3] == '2' or ARGV[3] == '1' and redis.call('EXISTS', KEYS[1]) == 1
  trust = known and 2 or 3
  local refused
  for nth = first, last do
    local subject = look(nth)
    local binds = not known or subject.limit.binds_known == 1
    if subject.rule and binds and (not refused or subject.wait > subjects[refused].wait) then
      refused = nth
    end
  end
  if refused then
    for _, ledger in pairs(dirty) do write(ledger) end
    return { 0, refused - 1, subjects[refused].rule, math.ceil(subjects[refused].wait) }
  end
end
for nth = first, last do
  local places, limit = subjects[nth].places, subjects[nth].limit
  redis.call('ZADD', places, exact(now + lease), ARGV[1] .. ':' .. exact(limit.tag))
  local memory = math.max(limit.within, limit.interval * limit.count)
  redis.call('PEXPIRE', places, exact(math.ceil((lease + memory) / 1000)))
end
for _, ledger in pairs(dirty) do write(ledger) end
return { trust, 0, 0, 0 }
