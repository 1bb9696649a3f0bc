-- The leader of the change feed vouches: everything that was visible when its heartbeat was sent is announced.
-- ARGV: 3 the leader's session, 4 the database, 5 the version of the publication, 6 how far everything is announced,
--       7 until when that is fresh, in milliseconds of this Redis' clock, 8 whether the leader is settled (1 or 0)
-- Returns: 1, or 0 if another session leads
local epoch, refusal = current_epoch()
if refusal then return refusal end

local known = redis.call('HMGET', KEYS[1], 'feed_session', 'feed_at')
-- Nobody leads if Redis lost its memory: whoever is in the middle of a stream may go on.
if known[1] and known[1] ~= ARGV[3] then return 0 end
local at = ARGV[6]
if known[2] and known[2] > at then at = known[2] end
redis.call('HSET', KEYS[1], 'feed_session', ARGV[3], 'feed_database', ARGV[4], 'feed_covers', ARGV[5],
  'feed_at', at, 'feed_settled', ARGV[8])

-- By this clock and not from now on: the command may have been on its way for long.
local left = tonumber(ARGV[7]) - clock()
if left > 0 then
  redis.call('SET', KEYS[3], ARGV[5], 'PX', string.format('%.0f', left))
end
return 1
