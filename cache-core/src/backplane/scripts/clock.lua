-- Returns: the time by this Redis' clock, in milliseconds
return string.format('%.0f', clock())
