-- The last event of a stream.
-- KEYS: 1 the stream
-- Returns: its id, or 0-0
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return last and last[1] or '0-0'
