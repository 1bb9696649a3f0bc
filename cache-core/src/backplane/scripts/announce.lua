-- ARGV: 3 kind (c or p), 4 the end of the message, 5 where in it the slots begin, 4 bytes each, 6 the channel,
--       7 and 8 epoch and version of the templates that the slots were computed from; an empty epoch if from none
-- Returns: epoch, seq; or epoch, 0 without any effect if there are newer templates
local epoch, refusal, templates = current_epoch()
if refusal then return refusal end
-- Whoever fills by a template that this announcer does not know would never hear of the change.
if ARGV[7] ~= '' and (ARGV[7] ~= epoch or ARGV[8] ~= templates) then return {epoch, 0} end

local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local packed = struct.pack('<I8', seq)
for at = tonumber(ARGV[5]) + 1, #ARGV[4], 4 do
  redis.call('SETRANGE', KEYS[2], struct.unpack('<I4', ARGV[4], at) * 8, packed)
end
if ARGV[3] == 'p' then
  redis.call('HSET', KEYS[1], 'purged', seq)
end
redis.call('PUBLISH', ARGV[6], epoch .. ARGV[3] .. packed .. ARGV[4])
return {epoch, seq}
