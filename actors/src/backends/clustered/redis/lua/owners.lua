-- Returns the shards whose leases run: shard, owner (node:term), shard, owner, … Removes the others.
-- KEYS: shards.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rows = redis.call('HGETALL', KEYS[1])
local running = {}
for i = 1, #rows, 2 do
  local owner, ends = string.match(rows[i + 1], '^(%d+:%d+):(%d+)$')
  if ends and tonumber(ends) > now then
    running[#running + 1] = rows[i]
    running[#running + 1] = owner
  else
    redis.call('HDEL', KEYS[1], rows[i])
  end
end
return running
