-- Whose time is up leaves, and it is said. Before anything else is done with a channel.
-- KEYS: 1 the stream of changes, 2 the members (sorted set by when their time is up)
-- ARGV: 1 how many changes to keep, 2 for how long, in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[2], member)
  append(KEYS[1], 'leave ' .. member, ARGV[1], ARGV[2])
end
