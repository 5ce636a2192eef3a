-- A consumer's place, in one step with its change. The place is a consumer group's last delivered entry, so that Redis'
-- own tools show how far it lags; how often it was rewound is in a hash.
-- KEYS: the stream, the hash of rewinds. ARGV: the consumer, then nothing (look), 'mark', POSITION, SINCE or
-- 'rewind', POSITION.
-- Returns position, rewinds, the oldest position that the stream holds (0: none), the newest.
local name, act, to, since = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function number(id)
  return tonumber(string.match(id, '^%d+'))
end

local position = nil
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for index = 1, #flat, 2 do group[flat[index]] = flat[index + 1] end
    if group['name'] == name then position = number(group['last-delivered-id']) end
  end
end
local rewinds = tonumber(redis.call('HGET', KEYS[2], name) or 0)

local function move(target)
  local id = string.format('%d-0', target)
  if not position then redis.call('XGROUP', 'CREATE', KEYS[1], name, id, 'MKSTREAM') end
  -- Redis shows a lag only where it is told how many entries were read before.
  redis.call('XGROUP', 'SETID', KEYS[1], name, id, 'ENTRIESREAD', string.format('%d', target))
  position = target
end

if act == 'mark' and rewinds == since and to > (position or -1) then
  move(to)
elseif act == 'rewind' then
  move(math.min(position or 0, to))
  rewinds = redis.call('HINCRBY', KEYS[2], name, 1)
end

local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return {position or 0, rewinds, first and number(first[1]) or 0, last and number(last[1]) or 0}
