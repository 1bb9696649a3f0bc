-- Returns: epoch, seq, purged, trusted, table
local answer = position()
if answer.err then return answer end
answer[5] = redis.call('GET', KEYS[2])
return answer
