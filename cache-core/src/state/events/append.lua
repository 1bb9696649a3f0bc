-- Appends an event to a stream, and wakes whoever listens. Returns the event's id, <milliseconds>-<number>: the number is one
-- more than the last.
local function append(stream, event, keep, lasts_for)
  local millis, number = 0, 0
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last then
    millis, number = string.match(last[1], '(%d+)-(%d+)')
  end
  local time = redis.call('TIME')
  -- Also with a clock that was set back, ids only grow.
  millis = math.max(tonumber(millis), time[1] * 1000 + math.floor(time[2] / 1000))
  local id = string.format('%.0f-%.0f', millis, tonumber(number) + 1)
  redis.call('XADD', stream, 'MAXLEN', '=', keep, id, 'data', event)
  redis.call('PEXPIRE', stream, lasts_for)
  redis.call('PUBLISH', stream, '')
  return id
end
