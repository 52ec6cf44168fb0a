-- Gives a place back and counts what came of it.
--
-- KEYS  1     whether the network is known for the account
--       2     what is locked, by when the lock ends
--       3     the account's ledger
--       4…    for each subject its ledger and its places
-- ARGV  1     the name of the place
--       2     1 where the attempt counts
--       3     1 where the owner of the account has come in
--       4     1 where he is trusted by more than that
--       5     for how long the network is known from now on, in milliseconds, or 0
--       6…    the limit of each subject
-- Gives for each lock that begins its subject, from 0, and the failures, the level, whether it is a
-- bar, and how long it holds.
local counts, owned, trusted = ARGV[2] == '1', ARGV[3] == '1', ARGV[4] == '1'
local begun = {}

for nth = 1, #ARGV - 5 do
  local key, places, limit = KEYS[2 * nth + 2], KEYS[2 * nth + 3], limit_of(ARGV[nth + 5])
  local held = redis.call('ZREM', places, ARGV[1] .. ':' .. exact(limit.tag)) == 1
  -- A place that was held for too long has been counted already.
  if owned or counts and held then
    local ledger = read(key)
    if owned then
      keep(ledger, function(_, tag) return tag ~= limit.tag end)
      ledger.row = 0
      if #ledger.log == 0 then ledger.stale = 0 end
    elseif charge(ledger, limit, KEYS[2], limit.tag, now) then
      begun[#begun + 1] = {
        nth - 1, ledger.locked_by, ledger.level, ledger.barred, math.ceil(ledger.locked - now),
      }
    end
    write(ledger)
  end
end
if owned and trusted then
  local account = read(KEYS[3])
  account.row = 0
  if account.barred == 1 then
    account.barred, account.locked = 0, 0
    redis.call('ZREM', KEYS[2], KEYS[3])
  end
  write(account)
end
if ARGV[5] ~= '0' then redis.call('SET', KEYS[1], '', 'PX', ARGV[5]) end
return begun
