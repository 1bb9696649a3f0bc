-- Looks for entries, and takes the fill lease of each key that has none worth reading.
-- KEYS: for each claim: the entry, the lease
-- ARGV: 1 how an entry begins that this release reads, 2 for how long to take a lease, in milliseconds; then for each claim:
--       the node's epoch (8 bytes), the last announcement of one of the key's tags, as far as the node knows, the checksum
--       of an entry that it refused already, or an empty string, and the lease to write: epoch and as_of of the fill (8
--       bytes each), then its owner
-- Returns: for each claim: 'entry', the entry; 'taken', the lease; or 'granted' or 'voided', and 'absent', 'outdated', or how
--          something begins that is no entry for this release and these keys

-- Whether an announcement that the node knows of came after a fill, or the fill belongs to another epoch: one of the two nodes
-- lives in the past then, and until its next poll both may fill. `at` is where its epoch and as_of are.
local function outdated(text, at, epoch, newest)
  return string.sub(text, at, at + 7) ~= epoch or struct.unpack('<I8', text, at + 8) < newest
end

local function claim(entry, lease, epoch, newest, refused, written)
  local head = redis.call('GETRANGE', entry, 0, 31)
  local known = #head == 32 and string.sub(head, 1, 6) == ARGV[1]
  if known and not outdated(head, 17, epoch, newest) and string.sub(head, 9, 16) ~= refused then
    return 'entry', redis.call('GET', entry)
  end
  local holder = redis.call('GET', lease)
  local held = holder and #holder >= 16
  if held and not outdated(holder, 1, epoch, newest) then
    return 'taken', holder
  end
  redis.call('SET', lease, written, 'PX', ARGV[2])
  local there = known and 'outdated' or #head > 0 and string.sub(head, 1, 4) or 'absent'
  return held and 'voided' or 'granted', there
end

local said = {}
for number = 1, #KEYS / 2 do
  local key, arg = number * 2, number * 4 - 1
  said[key - 1], said[key] =
    claim(KEYS[key - 1], KEYS[key], ARGV[arg], tonumber(ARGV[arg + 1]), ARGV[arg + 2], ARGV[arg + 3])
end
return said
