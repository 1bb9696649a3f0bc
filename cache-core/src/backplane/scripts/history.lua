-- Shared by all scripts.
-- KEYS: 1 the history (hash), 2 the table (string of 8 bytes a slot), 3 the feed (its presence: somebody vouches),
--       4 the templates (set of their names; there is no key while there are none)
-- ARGV: 1 a name for a new epoch, should one be needed, 2 the number of slots

-- Milliseconds since the Unix epoch.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function replid()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
end

-- Older announcements are lost: nothing that was filled before may count as coherent.
local function begin_epoch()
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
  redis.call('SETRANGE', KEYS[2], tonumber(ARGV[2]) * 8 - 1, '\0')
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', '0', 'purged', '0', 'slots', ARGV[2], 'templates', '0',
    'replid', replid())
  return ARGV[1], nil, '0'
end

-- The epoch, begun anew if any key of the history was lost, or if Redis fell back: it restarted from an older copy, or
-- failed over to a replica that lagged. A changed replication id shows both, and no script may skip the look: an
-- announcement after a fall would take a number that the nodes have seen already, and they would take it for a repetition.
-- Fails if the peers use a table of another size.
-- Returns: the epoch, what it fails with, and how many templates there are: the version of their set, which only grows.
local function current_epoch()
  local history = redis.call('HMGET', KEYS[1], 'epoch', 'slots', 'replid', 'templates')
  local length = redis.call('STRLEN', KEYS[2])
  if not history[1] or not history[2] or length ~= tonumber(history[2]) * 8 then
    return begin_epoch()
  end
  if redis.call('SCARD', KEYS[4]) ~= tonumber(history[4] or '-1') then
    return begin_epoch()
  end
  if history[2] ~= ARGV[2] then
    return nil, redis.error_reply('TRANSOM the peers use coherence_slots = ' .. history[2] .. ', this node ' .. ARGV[2])
  end
  if history[3] ~= replid() then
    return begin_epoch()
  end
  return history[1], nil, history[4]
end
