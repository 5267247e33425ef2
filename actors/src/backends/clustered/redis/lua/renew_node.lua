-- Takes or renews a node's lease.
-- KEYS: nodes. ARGV: node, incarnation, lease in ms.
-- Returns -1 while another incarnation holds it, 1 when it is taken anew, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local anew = 1
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local incarnation, ends = string.match(held, '^(%x+):(%d+)$')
  if ends and tonumber(ends) > now then
    if incarnation ~= ARGV[2] then
      return -1
    end
    anew = 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. string.format('%.0f', now + ARGV[3]))
-- The table goes with the longest lease in it.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return anew
