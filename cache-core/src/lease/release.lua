-- Gives the fill lease back, if it is still this node's.
-- KEYS: 1 the lease
-- ARGV: 1 the lease as this node wrote it
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
