-- KEYS: 1 the filter: a header of 40 bytes, then the bits
-- The filter of this name and its header, or nothing. All numbers in it are exact in Lua.
local function found(key)
  local header = redis.call('GETRANGE', key, 0, 39)
  if #header == 40 and string.sub(header, 1, 4) == 'TEX1' then
    local _, _, _, bits, hashes, added = struct.unpack('<c4I8dI8I4I8', header)
    return { bits = bits, hashes = hashes, added = added }, header
  end
end

-- Of each item, 1 if all of its bits are set, else 0; sets them if there is a value. Asks for hundreds of items at once: Lua cannot
-- hand over more.
-- ARGV: 1 the hashes of the items, 12 bytes each
local function bits_of(filter, command, operation, value)
  local set, arguments, at = {}, {}, 0
  local function ask()
    local bits = redis.call(command, KEYS[1], unpack(arguments, 1, at))
    for first = 1, #bits, filter.hashes do
      local all = 1
      for bit = first, first + filter.hashes - 1 do
        if bits[bit] == 0 then all = 0 end
      end
      set[#set + 1] = all
    end
    at = 0
  end
  for start = 1, #ARGV[1], 12 do
    local one, other = struct.unpack('<I6I6', ARGV[1], start)
    other = other % filter.bits
    for number = 0, filter.hashes - 1 do
      -- Enhanced double hashing (Dillinger, Manolios, 2004); the sum stays below 2^53.
      local bit = (one + number * other + (number * number * number - number) / 6) % filter.bits
      arguments[at + 1], arguments[at + 2], arguments[at + 3] = operation, 'u1', 320 + bit
      at = at + 3
      if value then
        at = at + 1
        arguments[at] = value
      end
    end
    if at > 6000 then ask() end
  end
  if at > 0 then ask() end
  return set
end

