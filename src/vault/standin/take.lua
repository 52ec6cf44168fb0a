-- Gives the code of the first of these names that has one, and wipes it under all its names.
--
-- KEYS  1, 2  the names of codes without a token, and with one
--       3…    the names to look under, in order
for place = 3, #KEYS do
  local name = KEYS[place]
  local value = redis.call('GETDEL', name)
  if value then
    -- A value begins with the number of its names, and the names.
    for other = 0, string.byte(value) - 1 do
      local from = 2 + other * #name
      local wiped = string.sub(value, from, from + #name - 1)
      redis.call('DEL', wiped)
      redis.call('ZREM', KEYS[1], wiped)
      redis.call('ZREM', KEYS[2], wiped)
    end
    return value
  end
end
return false
