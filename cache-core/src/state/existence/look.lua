-- Returns: {the header, or an empty text if there is no filter; milliseconds until it is gone, or less than 0}
local _, header = found(KEYS[1])
return { header or '', redis.call('PTTL', KEYS[1]) }
