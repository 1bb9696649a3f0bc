-- The events of a stream after a position.
-- KEYS: 1 the stream
-- ARGV: 1 how many events to keep, 2 for how long, 3 the id of the event before them, 4 how many at most
-- Returns: {id, event, id, event, ..}
local flat = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[3], '+', 'COUNT', ARGV[4])) do
  flat[#flat + 1] = entry[1]
  flat[#flat + 1] = entry[2][2]
end
return flat
