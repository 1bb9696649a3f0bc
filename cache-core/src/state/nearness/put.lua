-- KEYS: 1 the index
-- ARGV: 1 for how long, in milliseconds; 0: as long as before. The rest: longitude, latitude and name of each member
-- Returns: {how many were not there before, how many were elsewhere}
local before = redis.call('ZCARD', KEYS[1])
local changed = redis.call('GEOADD', KEYS[1], 'CH', unpack(ARGV, 2))
local added = redis.call('ZCARD', KEYS[1]) - before
if ARGV[1] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return { added, changed - added }
