-- Gives a guest's name to a user unless somebody has it, and prolongs the hold.
-- KEYS: the name. ARGV: user, hold in ms. Returns who has it.
local holder = redis.call('GET', KEYS[1])
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return holder
