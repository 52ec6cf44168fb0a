-- Forgets ledgers and their locks, but not the places held; gives how many there were.
--
-- KEYS  1     what is locked, by when the lock ends
--       2…    the ledgers
local released = 0
for nth = 2, #KEYS do
  redis.call('ZREM', KEYS[1], KEYS[nth])
  released = released + redis.call('DEL', KEYS[nth])
end
return released
