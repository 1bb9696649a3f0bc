-- KEYS: 1 the counter
-- ARGV: 1 for how long, in milliseconds; 0: as long as before. The rest: what is added
-- Returns: whether the count changed
local changed = redis.call('PFADD', KEYS[1], unpack(ARGV, 2))
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return changed
