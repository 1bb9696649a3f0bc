-- Returns: epoch, and the names of the templates; as many as that is the version
local epoch, refusal = current_epoch()
if refusal then return refusal end
return {epoch, redis.call('SMEMBERS', KEYS[4])}
