-- Returns: {the header after it, of each item '1' if it was certainly absent before}; or two empty texts if there is no filter
local filter, header = found(KEYS[1])
if not filter then return { '', '' } end
local set = bits_of(filter, 'BITFIELD', 'SET', 1)
local added = 0
for item = 1, #set do
  added = added + 1 - set[item]
  set[item] = 1 - set[item]
end
if added > 0 then
  local count = struct.pack('<I8', filter.added + added)
  redis.call('SETRANGE', KEYS[1], 32, count)
  header = string.sub(header, 1, 32) .. count
end
return { header, table.concat(set) }
