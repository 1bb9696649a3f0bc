-- ARGV: 3 the asking node's epoch, 4 its watermark, 5 a quarter of max_staleness in milliseconds, 6 the version of the
--       publication by which it judges what the change feed covers, or an empty string if it relies on no feed
-- Returns: epoch, seq, purged, trusted (1: yes, 0: not after a time in which nobody polled, 2: nobody vouches for the feed)

-- Every node polls all the time, every eighth of max_staleness. If nobody did for two of those, Redis was away from
-- everybody, and a writer may still owe an announcement from that time. For as long again nothing is trusted: writers
-- announce what they owe before they poll. Time away that goes unnoticed, time to pay, and a lease (half of
-- max_staleness) add up to max_staleness, counted from the write. The write below also makes a poll fail on a replica, and
-- on a master that lost its replicas (min-replicas-to-write): neither may renew a lease.
local function trusted()
  local now = clock()
  local lapse = tonumber(ARGV[5])
  local marks = redis.call('HMGET', KEYS[1], 'polled', 'quiet')
  local quiet = math.min(tonumber(marks[2] or '0'), now + lapse)
  if marks[1] and now - tonumber(marks[1]) > lapse then
    quiet = now + lapse
  end
  redis.call('HSET', KEYS[1], 'polled', string.format('%.0f', now), 'quiet', string.format('%.0f', quiet))
  if now < quiet then return 0 end
  if ARGV[6] == '' or redis.call('GET', KEYS[3]) == ARGV[6] then return 1 end
  return 2
end

-- A node that is ahead of Redis shows that Redis fell back, whatever the replication id says.
local function position()
  local epoch, refusal = current_epoch()
  if refusal then return refusal end
  if ARGV[3] == epoch and tonumber(ARGV[4]) > tonumber(redis.call('HGET', KEYS[1], 'seq')) then
    epoch = begin_epoch()
  end
  local at = redis.call('HMGET', KEYS[1], 'seq', 'purged')
  return {epoch, tonumber(at[1]), tonumber(at[2]), trusted()}
end
