-- Notes on which node users have sockets. A user's key holds 'node:incarnation=end,…', end in Unix seconds, the latest last.
-- KEYS: one per user. ARGV: node:incarnation, seconds to keep, nodes per user at most, then for each user
-- 'here', 'gone', or 'renew' (if it is noted; one who has just gone must not come back).
local now = tonumber(redis.call('TIME')[1])
local mine, kept_s, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local my_end = mine .. '=' .. string.format('%.0f', now + kept_s)
for i, key in ipairs(KEYS) do
  local what = ARGV[3 + i]
  local noted, others = false, {}
  local value = redis.call('GET', key)
  if value then
    for lease, ends in string.gmatch(value, '([^,=]+)=(%d+)') do
      if lease == mine then
        noted = true
      elseif tonumber(ends) > now then
        others[#others + 1] = lease .. '=' .. ends
      end
    end
  end
  if what == 'here' or (what == 'renew' and noted) then
    others[#others + 1] = my_end
    while #others > most do
      table.remove(others, 1)
    end
    redis.call('SET', key, table.concat(others, ','), 'EX', kept_s)
  elseif what == 'gone' and noted then
    if #others == 0 then
      redis.call('DEL', key)
    else
      redis.call('SET', key, table.concat(others, ','), 'KEEPTTL')
    end
  end
end
return 1
