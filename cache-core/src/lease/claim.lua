-- Looks for an entry, and takes the fill lease of its key unless there is one worth reading.
-- KEYS: 1 the entry, 2 the lease
-- ARGV: 1 how an entry begins that this release reads, 2 the node's epoch (8 bytes), 3 the last announcement of one of
--       the key's tags, as far as the node knows, 4 the checksum of an entry that it refused already, or an empty string,
--       5 the lease to write: epoch and as_of of the fill (8 bytes each), then its owner, 6 for how long, in milliseconds
-- Returns: {'entry', the entry}, {'taken', the lease}, or {'granted' or 'voided', 'absent', 'outdated', or how something
--          begins that is no entry for this release and these keys}

-- Whether an announcement that the node knows of came after a fill, or the fill belongs to another epoch: one of the two nodes
-- lives in the past then, and until its next poll both may fill. `at` is where its epoch and as_of are.
local function outdated(text, at)
  return string.sub(text, at, at + 7) ~= ARGV[2] or struct.unpack('<I8', text, at + 8) < tonumber(ARGV[3])
end

local head = redis.call('GETRANGE', KEYS[1], 0, 31)
local known = #head == 32 and string.sub(head, 1, 6) == ARGV[1]
if known and not outdated(head, 17) and string.sub(head, 9, 16) ~= ARGV[4] then
  return {'entry', redis.call('GET', KEYS[1])}
end

local lease = redis.call('GET', KEYS[2])
local held = lease and #lease >= 16
if held and not outdated(lease, 1) then
  return {'taken', lease}
end
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
local there = known and 'outdated' or #head > 0 and string.sub(head, 1, 4) or 'absent'
return {held and 'voided' or 'granted', there}
