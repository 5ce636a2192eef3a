-- Drops the oldest events and their ids, up to the first that arrived at the moment or later, or that a consumer has
-- still to read.
-- KEYS: the stream, the sorted set of ids by position. ARGV: the moment in microseconds, how many at most.
-- Returns how many were dropped.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local least = math.huge
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for index = 1, #flat, 2 do
    if flat[index] == 'last-delivered-id' then
      least = math.min(least, tonumber(string.match(flat[index + 1], '^%d+')))
    end
  end
end
local dropped, upto = 0, 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])) do
  local position = tonumber(string.match(entry[1], '^%d+'))
  if position > least or tonumber(entry[2][2]) >= tonumber(ARGV[1]) then break end
  dropped, upto = dropped + 1, position
end
if dropped > 0 then
  redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%d-0', upto + 1))
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%d', upto))
end
return dropped
