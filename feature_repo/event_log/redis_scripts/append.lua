-- Appends those events whose id is new, all of them or none: Redis refuses a script for want of memory before its first
-- write. Positions are consecutive; the entry of position n has the id n-0.
-- KEYS: the stream, the sorted set of ids by position, the last position. ARGV: id, body; id, body; ...
-- Returns for each event 1 if it was new, else 0.
local now = redis.call('TIME')
local arrived = now[1] .. string.format('%06d', now[2])
local position = tonumber(redis.call('GET', KEYS[3]) or 0)
local new = {}
for index = 1, #ARGV, 2 do
  local added = redis.call('ZADD', KEYS[2], 'NX', position + 1, ARGV[index])
  if added == 1 then
    position = position + 1
    redis.call('XADD', KEYS[1], string.format('%d-0', position), 'arrived', arrived, 'body', ARGV[index + 1])
  end
  new[#new + 1] = added
end
redis.call('SET', KEYS[3], string.format('%d', position))
return new
