-- Counts against a limit in a sliding window, if there is room.
-- KEYS: 1 the counters (hash: sum, last step, and one field per step that something was counted in)
-- ARGV: 1 the limit, 2 the window in milliseconds, 3 the cost
-- Returns: {1 or 0, what is left, microseconds until this cost may pass}
local STEPS = 60
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000, tonumber(ARGV[3])
local time = redis.call('TIME')
local width = window / STEPS
local now = time[1] * 1000000 + time[2]
local step = math.floor(now / width)

-- The window holds all steps that overlap with it: the present one, the one that is leaving, and those between.
local function field(at)
  return tostring(at % (STEPS + 1))
end

local kept = redis.call('HMGET', KEYS[1], 'sum', 'last', field(step))
local sum, last, count = tonumber(kept[1]) or 0, tonumber(kept[2]), tonumber(kept[3]) or 0
local moved = last ~= step
if last and last > step then
  -- The clock was set back: what was counted is not forgotten, and the window stands still until then.
  step, moved = last, false
  count = tonumber(redis.call('HGET', KEYS[1], field(step))) or 0
elseif last and step - last > STEPS then
  redis.call('DEL', KEYS[1])
  sum, count = 0, 0
elseif last and moved then
  local gone = {}
  for at = last - STEPS, step - STEPS - 1 do
    gone[#gone + 1] = field(at)
  end
  for _, left in ipairs(redis.call('HMGET', KEYS[1], unpack(gone))) do
    sum = sum - (tonumber(left) or 0)
  end
  redis.call('HDEL', KEYS[1], unpack(gone))
  count = 0
end

if sum + cost <= limit then
  redis.call('HSET', KEYS[1], 'sum', sum + cost, 'last', step, field(step), count + cost)
  if moved then
    redis.call('PEXPIRE', KEYS[1], math.ceil((window + 2 * width) / 1000))
  end
  return {1, limit - sum - cost, 0}
end
if moved and last then
  redis.call('HSET', KEYS[1], 'sum', sum, 'last', step)
end

-- When enough of the oldest steps have left. What costs more than the limit never passes; a window from now it is as well told.
local freed, at = 0, step - STEPS
while at <= step and sum - freed + cost > limit do
  freed = freed + (tonumber(redis.call('HGET', KEYS[1], field(at))) or 0)
  at = at + 1
end
return {0, limit - sum, math.max(math.ceil((at + STEPS) * width - now), 1)}
