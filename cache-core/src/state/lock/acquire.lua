-- Takes a lock if it is free, or extends it if the owner has it.
-- KEYS: 1 the lock (hash: owner, fence), 2 the last fence
-- ARGV: 1 the owner, 2 for how long, in milliseconds, 3 how long to remember the fence, in milliseconds
-- Returns: {'granted' or 'held', the holder's fence, milliseconds left}
local owner, fence = unpack(redis.call('HMGET', KEYS[1], 'owner', 'fence'))
if owner and owner ~= ARGV[1] then
  return {'held', fence, redis.call('PTTL', KEYS[1])}
end
if not owner then
  -- By the clock, so that it grows also where the last one was lost with Redis' memory. All its digits are exact in a double.
  local now = redis.call('TIME')
  local last = tonumber(redis.call('GET', KEYS[2])) or 0
  fence = string.format('%.0f', math.max(now[1] * 1000000 + now[2], last + 1))
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', fence)
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
return {'granted', fence, ARGV[2]}
