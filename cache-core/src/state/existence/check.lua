-- Returns: {the header, of each item '1' if it is certainly absent}; or two empty texts if there is no filter
local filter, header = found(KEYS[1])
if not filter then return { '', '' } end
local set = bits_of(filter, 'BITFIELD_RO', 'GET')
for item = 1, #set do
  set[item] = 1 - set[item]
end
return { header, table.concat(set) }
