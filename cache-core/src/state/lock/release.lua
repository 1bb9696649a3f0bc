-- Frees a lock if the owner still has it. The last fence stays.
-- KEYS: 1 the lock, 2 the last fence
-- ARGV: 1 the owner
-- Returns: {'released' or 'lost', '0', '0'}
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return {'lost', '0', '0'}
end
redis.call('DEL', KEYS[1])
return {'released', '0', '0'}
