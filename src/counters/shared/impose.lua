-- Takes over locks that began while the server was away; a longer one stays.
--
-- KEYS  1     what is locked, by when the lock ends
--       2…    the ledgers
-- ARGV  for each ledger how long it is locked, the failures, the level, and 1 where it is a bar
for nth = 2, #KEYS do
  local ledger, arg = read(KEYS[nth]), 4 * (nth - 2)
  local wait = tonumber(ARGV[arg + 1])
  if ledger.locked < now + wait then
    ledger.level, ledger.barred = tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4])
    lock(ledger, KEYS[1], wait, tonumber(ARGV[arg + 2]))
    write(ledger)
  end
end
