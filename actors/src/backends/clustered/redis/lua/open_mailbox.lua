-- Makes an empty mailbox, in the place of an earlier one.
-- KEYS: stream, room. ARGV: most envelopes, most bytes, ms to keep it without a reader.
-- Returns the id after which to read.
redis.call('DEL', KEYS[1], KEYS[2])
local id = redis.call('XADD', KEYS[1], '*', 'n', '0')
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('HSET', KEYS[2], 'envelopes', ARGV[1], 'bytes', ARGV[2], 'envelopes_max', ARGV[1], 'bytes_max', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return id
