-- KEYS: 1 the index
-- ARGV: 1 the unit, 2 how many at most, 3 the radius, or the width of a box, 4 its height, empty for a circle, 5 and 6 longitude and
-- latitude of the middle, or 5 the member who is there
-- Returns: {whether the middle is known, {member, distance, longitude, latitude, ..}}, the nearest first
local middle
if ARGV[6] then
  middle = { 'FROMLONLAT', ARGV[5], ARGV[6] }
elseif redis.call('ZSCORE', KEYS[1], ARGV[5]) then
  middle = { 'FROMMEMBER', ARGV[5] }
else
  return { 0, {} }
end

local function search(...)
  local words = { KEYS[1], unpack(middle) }
  for _, word in ipairs({ ... }) do
    words[#words + 1] = word
  end
  for _, word in ipairs({ ARGV[1], 'ASC', 'COUNT', ARGV[2], 'WITHDIST', 'WITHCOORD' }) do
    words[#words + 1] = word
  end
  return redis.call('GEOSEARCH', unpack(words))
end

local members
if ARGV[4] ~= '' then
  members = search('BYBOX', ARGV[3], ARGV[4])
else
  -- Redis looks at all members of a circle to find the nearest. In a large index, smaller circles may have enough: those in them
  -- are nearer than all others.
  local limit = tonumber(ARGV[2])
  local halvings = redis.call('ZCARD', KEYS[1]) > 10 * limit and 16 or 0
  repeat
    members = search('BYRADIUS', string.format('%.17g', ARGV[3] / 2 ^ halvings))
    halvings = halvings - 1
  until halvings < 0 or #members >= limit
end

local flat = {}
for _, member in ipairs(members) do
  for _, part in ipairs({ member[1], member[2], member[3][1], member[3][2] }) do
    flat[#flat + 1] = part
  end
end
return { 1, flat }
