-- Claims shards that nobody holds and renews those that the claimer holds.
-- KEYS: shards. ARGV: lease in ms, then shard and owner (node:term) by turns.
-- Returns the owner of each, in order.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + ARGV[1])
local shards = {}
for i = 2, #ARGV, 2 do
  shards[#shards + 1] = ARGV[i]
end
local rows = redis.call('HMGET', KEYS[1], unpack(shards))
local owners, writes = {}, {}
for i, shard in ipairs(shards) do
  local claimer = ARGV[2 * i + 1]
  local owner, held_until = string.match(rows[i] or '', '^(%d+:%d+):(%d+)$')
  if owner and owner ~= claimer and tonumber(held_until) > now then
    owners[i] = owner
  else
    owners[i] = claimer
    writes[#writes + 1] = shard
    writes[#writes + 1] = claimer .. ':' .. ends
  end
end
if #writes > 0 then
  redis.call('HSET', KEYS[1], unpack(writes))
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
  end
end
return owners
