-- Gives a guest's name up if this user has it.
-- KEYS: the name. ARGV: user.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
