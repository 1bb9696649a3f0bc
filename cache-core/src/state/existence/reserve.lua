-- ARGV: 1 the header of an empty filter, 2 bytes of the whole, 3 for how long, in milliseconds; 0: until it is deleted
-- Returns: {whether it was made, its header}. One that is made for something else stays as it is.
local filter, header = found(KEYS[1])
local made = 0
if not filter then
  made, header = 1, ARGV[1]
  redis.call('UNLINK', KEYS[1])
  redis.call('SETRANGE', KEYS[1], 0, header)
  -- All of its memory at once: there is none that could be missing later.
  redis.call('SETRANGE', KEYS[1], ARGV[2] - 1, '\0')
elseif string.sub(header, 5, 20) ~= string.sub(ARGV[1], 5, 20) then
  return { 0, header }
end
if ARGV[3] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return { made, header }
