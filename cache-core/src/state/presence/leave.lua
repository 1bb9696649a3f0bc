-- ARGV: 3 the member
-- Returns: whether it was there
local left = redis.call('ZREM', KEYS[2], ARGV[3])
if left == 1 then
  append(KEYS[1], 'leave ' .. ARGV[3], ARGV[1], ARGV[2])
end
return left
