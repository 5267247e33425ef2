-- Gives up those shards that their owner still holds.
-- KEYS: shards. ARGV: shard and owner (node:term) by turns.
for i = 1, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if held and string.match(held, '^(%d+:%d+):') == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
