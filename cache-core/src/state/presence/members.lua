-- ARGV: 3 how many to list at most
-- Returns: {how many there are, {member, ..}}
-- Those whose time is up do not count, also if there were too many of them to sweep at once.
return {
  redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf'),
  redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf', 'LIMIT', 0, ARGV[3]),
}
