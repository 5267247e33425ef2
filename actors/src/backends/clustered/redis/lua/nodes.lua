-- Returns the name of the last change of the table of nodes and, unless the caller knows that one, the nodes whose leases run
-- (node:incarnation, …). Removes the others. An empty table has the name ''.
-- KEYS: nodes, change. ARGV: the change that the caller knows, or ''.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
-- Not only after the last removal: the whole table may have expired or been wiped.
if redis.call('ZCARD', KEYS[1]) == 0 then
  return { '' }
end
local change = redis.call('GET', KEYS[2])
if ended > 0 or not change then
  change = time[1] .. '.' .. time[2]
  redis.call('SET', KEYS[2], change, 'EX', 3600)
end
if change == ARGV[1] then
  return { change }
end
local answer = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(answer, 1, change)
return answer
