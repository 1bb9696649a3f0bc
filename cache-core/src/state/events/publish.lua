-- KEYS: 1 the stream; its name is also that of the channel that wakes
-- ARGV: 1 how many events to keep, 2 for how long, in milliseconds, 3 the event
-- Returns: the event's id
return append(KEYS[1], ARGV[3], ARGV[1], ARGV[2])
