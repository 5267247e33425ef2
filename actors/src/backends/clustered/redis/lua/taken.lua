-- Removes what was read from a mailbox, and keeps the mailbox alive.
-- KEYS: stream, room. ARGV: ms to keep it without a reader, envelopes taken, their bytes, the id of the first entry to stay ('' with
-- nothing taken). Returns 0 when there is no such mailbox, else 1.
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then
  return 0
end
if ARGV[4] ~= '' then
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[4])
  if redis.call('XLEN', KEYS[1]) == 0 then
    -- Right whatever was lost before: an answer to this very call, or the last second of a server that was restarted.
    local most = redis.call('HMGET', KEYS[2], 'envelopes_max', 'bytes_max')
    redis.call('HSET', KEYS[2], 'envelopes', most[1], 'bytes', most[2])
  else
    redis.call('HINCRBY', KEYS[2], 'envelopes', ARGV[2])
    redis.call('HINCRBY', KEYS[2], 'bytes', ARGV[3])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
