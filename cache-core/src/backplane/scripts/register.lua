-- Makes templates known to whoever announces: all of these, or none if there is no room.
-- ARGV: 3 how many there may be, 4 and following their names
-- Returns: epoch, and how many there are now, or 0 if there is no room
local epoch, refusal = current_epoch()
if refusal then return refusal end

local strangers = {}
for at = 4, #ARGV do
  if redis.call('SISMEMBER', KEYS[4], ARGV[at]) == 0 then strangers[#strangers + 1] = ARGV[at] end
end
local count = redis.call('SCARD', KEYS[4])
if count + #strangers > tonumber(ARGV[3]) then return {epoch, 0} end
for _, name in ipairs(strangers) do
  count = count + redis.call('SADD', KEYS[4], name)
end
if #strangers > 0 then redis.call('HSET', KEYS[1], 'templates', count) end
return {epoch, count}
