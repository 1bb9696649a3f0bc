-- KEYS: 1 a counter, 2 and 3 places beside it, empty before and after
-- ARGV: 1 whether to keep the sum in the counter, 2 for how long, in milliseconds; 0: as long as before. The rest: other counters
-- Returns: the count of all together
redis.call('PFMERGE', KEYS[2], KEYS[1])
for other = 3, #ARGV do
  redis.call('SET', KEYS[3], ARGV[other])
  redis.call('PFMERGE', KEYS[2], KEYS[3])
end
local count = redis.call('PFCOUNT', KEYS[2])
if ARGV[1] == '1' then
  redis.call('PFMERGE', KEYS[1], KEYS[2])
  if ARGV[2] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
end
redis.call('DEL', KEYS[2], KEYS[3])
return count
