-- Ends a node's lease and those of its shards, unless another incarnation of it holds the lease or none is known.
-- KEYS: nodes, shards. ARGV: node, incarnation.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or string.match(held, '^%x+') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
local rows = redis.call('HGETALL', KEYS[2])
for i = 1, #rows, 2 do
  if string.match(rows[i + 1], '^%d+') == ARGV[1] then
    redis.call('HDEL', KEYS[2], rows[i])
  end
end
return 1
