-- Returns the nodes whose leases run: node, incarnation, node, incarnation, … Removes the others.
-- KEYS: nodes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rows = redis.call('HGETALL', KEYS[1])
local running = {}
for i = 1, #rows, 2 do
  local incarnation, ends = string.match(rows[i + 1], '^(%x+):(%d+)$')
  if ends and tonumber(ends) > now then
    running[#running + 1] = rows[i]
    running[#running + 1] = incarnation
  else
    redis.call('HDEL', KEYS[1], rows[i])
  end
end
return running
