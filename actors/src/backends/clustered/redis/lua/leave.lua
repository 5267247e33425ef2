-- Ends a node's lease and those of its shards, unless another incarnation of it has the lease or none is known.
-- KEYS: nodes, lives, change, shards. ARGV: node, incarnation.
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
redis.call('ZREM', KEYS[1], ARGV[1] .. ':' .. ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], time[1] .. '.' .. time[2], 'EX', 3600)
local rows = redis.call('HGETALL', KEYS[4])
for i = 1, #rows, 2 do
  if string.match(rows[i + 1], '^%d+') == ARGV[1] then
    redis.call('HDEL', KEYS[4], rows[i])
  end
end
return 1
