-- Who has a lock?
-- KEYS: 1 the lock, 2 the last fence
-- Returns: {'held' or 'free', the holder's fence, milliseconds left}
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then
  return {'free', '0', '0'}
end
return {'held', fence, redis.call('PTTL', KEYS[1])}
