-- Stores an entry, and only then gives the fill lease back: whoever waits for the one finds the other.
-- KEYS: 1 the entry, 2 the lease
-- ARGV: 1 the entry, 2 for how long to keep it, in milliseconds, 3 the lease as this node wrote it
-- An answer from before an announcement does not replace one of the same epoch from after it: the lease may have been
-- taken over meanwhile, and the other fill have been faster.
local head = redis.call('GETRANGE', KEYS[1], 0, 31)
local newer = #head == 32
  and string.sub(head, 1, 6) == string.sub(ARGV[1], 1, 6)
  and string.sub(head, 17, 24) == string.sub(ARGV[1], 17, 24)
  and struct.unpack('<I8', head, 25) > struct.unpack('<I8', ARGV[1], 25)
if not newer then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
return 1
