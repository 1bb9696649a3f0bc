-- Where a user is, seen from the user: kept beside the members of channels, which lie elsewhere in Redis Cluster.
-- KEYS: 1 the places of a user (sorted set by when their time is up)
-- ARGV: 1 the place, 2 for how long, in milliseconds; 0: not any more
-- Returns: how many places there are
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  -- All places of a user have the same TTL, unless the setting was changed.
  redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), ARGV[2]))
end
return redis.call('ZCARD', KEYS[1])
