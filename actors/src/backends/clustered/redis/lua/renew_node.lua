-- Takes or renews a node's lease.
-- KEYS: nodes, lives, change. ARGV: node, incarnation, lease in ms.
-- Returns -1 while another incarnation holds it, 1 when it is taken anew, else 0.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local anew = 1
local life = redis.call('HGET', KEYS[2], ARGV[1])
if life then
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1] .. ':' .. life)
  if ends and tonumber(ends) > now then
    if life ~= ARGV[2] then
      return -1
    end
    anew = 0
  elseif ends then
    redis.call('ZREM', KEYS[1], ARGV[1] .. ':' .. life)
  end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1] .. ':' .. ARGV[2])
if anew == 1 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('SET', KEYS[3], time[1] .. '.' .. time[2], 'EX', 3600)
end
-- The tables go with the longest lease in them.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return anew
