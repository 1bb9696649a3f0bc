-- KEYS: 1 the index
-- ARGV: 1 and 2 two members, 3 the unit
-- Returns: the distance, or an empty text if one of them is not there
return redis.call('GEODIST', KEYS[1], ARGV[1], ARGV[2], ARGV[3]) or ''
