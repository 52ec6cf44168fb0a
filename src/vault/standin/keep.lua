-- Keeps a code under the first candidate whose names are all free; where none is, under the one
-- whose holders have waited longest, and wipes those.
--
-- KEYS  1, 2  the names of codes without a token, and with one, by when they expire
--       3…    the names of each candidate, candidate by candidate
-- ARGV  1     how long a code lives, in milliseconds
--       2     how many names a candidate has
--       3     how many names are kept at most
--       4     which of the two lists the code belongs to
--       5…    the sealed code of each candidate
-- Gives the number of the candidate, from 0.
local ttl, width, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local own = KEYS[tonumber(ARGV[4])]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A value begins with the number of its names, and the names.
local function wipe(name)
  local value = redis.call('GET', name)
  if not value then return end
  for place = 0, string.byte(value) - 1 do
    local from = 2 + place * #name
    local other = string.sub(value, from, from + #name - 1)
    redis.call('DEL', other)
    redis.call('ZREM', KEYS[1], other)
    redis.call('ZREM', KEYS[2], other)
  end
end

local chosen, chosen_left
for candidate = 0, #ARGV - 5 do
  local left = 0
  for place = 1, width do
    left = math.max(left, redis.call('PTTL', KEYS[2 + candidate * width + place]))
  end
  if not chosen_left or left < chosen_left then
    chosen, chosen_left = candidate, left
  end
  if left == 0 then break end
end

-- The first write must be one that a full server refuses: after another one it would let all pass.
redis.call('ZADD', own, string.format('%.0f', now + ttl), KEYS[3 + chosen * width])
for list = 1, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[list], '-inf', now)
end
while redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) + width - 1 > most do
  local oldest = redis.call('ZPOPMIN', KEYS[1])[1] or redis.call('ZPOPMIN', KEYS[2])[1]
  if not oldest then break end
  wipe(oldest)
end
for place = 1, width do
  wipe(KEYS[2 + chosen * width + place])
end
for place = 1, width do
  local name = KEYS[2 + chosen * width + place]
  redis.call('SET', name, ARGV[5 + chosen], 'PX', ttl, 'NX')
  redis.call('ZADD', own, string.format('%.0f', now + ttl), name)
end
redis.call('PEXPIRE', own, ttl)
return chosen
