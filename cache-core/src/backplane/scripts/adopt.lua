-- A new leader of the change feed: does what it will hear continue what was announced?
-- ARGV: 3 the leader's session, 4 the database, 5 the version of the publication, 6 where its stream begins
-- Returns: why a new epoch was begun, or an empty string
local epoch, refusal = current_epoch()
if refusal then return refusal end

local known = redis.call('HMGET', KEYS[1], 'feed_database', 'feed_covers', 'feed_at', 'feed_settled')
local broken = ''
if not known[1] then
  broken = 'unknown'
elseif known[1] ~= ARGV[4] then
  broken = 'database'
elseif known[2] ~= ARGV[5] then
  broken = 'publication'
elseif known[3] < ARGV[6] then
  broken = 'slot'
elseif known[4] ~= '1' then
  broken = 'unsettled'
end
if broken ~= '' then
  begin_epoch()
  redis.call('HSET', KEYS[1], 'feed_database', ARGV[4], 'feed_covers', ARGV[5], 'feed_at', ARGV[6], 'feed_settled', '0')
end
redis.call('HSET', KEYS[1], 'feed_session', ARGV[3])
return broken
