-- Stores entries, and only then gives the fill lease of each back: whoever waits for the one finds the other.
-- KEYS: for each store: the entry, the lease
-- ARGV: for each store: the entry, for how long to keep it, in milliseconds, the lease as this node wrote it
for number = 1, #KEYS / 2 do
  local key, arg = number * 2, number * 3
  local entry, keep, written = ARGV[arg - 2], ARGV[arg - 1], ARGV[arg]
  -- An answer from before an announcement does not replace one of the same epoch from after it: the lease may have been
  -- taken over meanwhile, and the other fill have been faster.
  local head = redis.call('GETRANGE', KEYS[key - 1], 0, 31)
  local newer = #head == 32
    and string.sub(head, 1, 6) == string.sub(entry, 1, 6)
    and string.sub(head, 17, 24) == string.sub(entry, 17, 24)
    and struct.unpack('<I8', head, 25) > struct.unpack('<I8', entry, 25)
  if not newer then
    redis.call('SET', KEYS[key - 1], entry, 'PX', keep)
  end
  if redis.call('GET', KEYS[key]) == written then
    redis.call('DEL', KEYS[key])
  end
end
return 1
