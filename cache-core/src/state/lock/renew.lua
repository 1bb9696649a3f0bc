-- Extends a lock if the owner still has it.
-- KEYS: 1 the lock, 2 the last fence
-- ARGV: as of acquire.lua
-- Returns: {'renewed' or 'lost', the fence, milliseconds left}
local owner, fence = unpack(redis.call('HMGET', KEYS[1], 'owner', 'fence'))
if owner ~= ARGV[1] then
  return {'lost', '0', '0'}
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
return {'renewed', fence, ARGV[2]}
