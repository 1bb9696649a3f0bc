-- ARGV: 3 the member, 4 for how long, in milliseconds
-- Returns: whether it was not there before
local came = redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[3])
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), ARGV[4] + ARGV[2]))
if came == 1 then
  append(KEYS[1], 'join ' .. ARGV[3], ARGV[1], ARGV[2])
end
return came
