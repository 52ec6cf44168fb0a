-- Says how subjects stand; changes nothing.
--
-- KEYS  1     whether the network is known for the account
--       2…    for each subject its ledger and its places
-- ARGV  1…    the limit of each subject
-- Gives first whether the network is known, then for each subject: its failures, over how many others,
-- in a row, places held, the level of the next lock, what would refuse and for how long; then of the
-- lock that holds: its failures, its level, whether it is a bar, and how long it holds.
local all = { { redis.call('EXISTS', KEYS[1]) } }
for nth = 1, #ARGV do
  local ledger, limit = read(KEYS[2 * nth]), limit_of(ARGV[nth])
  local held = redis.call('ZCARD', KEYS[2 * nth + 1])
  forget(ledger, limit.within)
  local rule, wait = admits(ledger, held, limit)
  all[nth + 1] = {
    failed(ledger), spread(ledger), ledger.row, held, next_level(ledger), rule or 0,
    math.ceil(wait or 0), ledger.locked_by, ledger.level, ledger.barred,
    math.ceil(math.max(ledger.locked - now, 0)),
  }
end
return all
