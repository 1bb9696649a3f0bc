-- ARGV: 3 kind (c or p), 4 the slots, 4 bytes each, 5 the channel
-- Returns: epoch, seq
local epoch, refusal = current_epoch()
if refusal then return refusal end

local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local packed = struct.pack('<I8', seq)
for at = 1, #ARGV[4], 4 do
  redis.call('SETRANGE', KEYS[2], struct.unpack('<I4', ARGV[4], at) * 8, packed)
end
if ARGV[3] == 'p' then
  redis.call('HSET', KEYS[1], 'purged', seq)
end
redis.call('PUBLISH', ARGV[5], epoch .. ARGV[3] .. packed .. ARGV[4])
return {epoch, seq}
