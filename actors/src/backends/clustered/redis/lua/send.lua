-- Puts a batch into a mailbox, all of it or nothing.
-- KEYS: stream, room. ARGV: envelopes in the batch, their bytes, the batch.
-- Returns 1; or -1 when there is no mailbox; or, when it has no room, how many envelopes and bytes it has room for and how many
-- envelopes it takes when empty.
local room = redis.call('HMGET', KEYS[2], 'envelopes', 'bytes', 'envelopes_max')
if not room[1] then
  return -1
end
local envelopes, bytes = room[1] - ARGV[1], room[2] - ARGV[2]
if envelopes < 0 or bytes < 0 then
  return { room[1], room[2], room[3] }
end
-- NOMKSTREAM: after a wipe, only the reader makes the mailbox again.
if not redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 'n', ARGV[1], 'b', ARGV[3]) then
  return -1
end
redis.call('HSET', KEYS[2], 'envelopes', envelopes, 'bytes', bytes)
return 1
