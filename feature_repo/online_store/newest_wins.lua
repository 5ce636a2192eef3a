-- Writes the rows of one entity, each unless a newer one is stored. One call is atomic, so that writers cannot race.
-- KEYS[1]: the entity's hash. ARGV, per row: name of its timestamp field, timestamp, number of features n, then n times
-- field and value. Timestamps are Feast's: serialised google.protobuf.Timestamp. Returns the number of rows written.

local function varint(bytes, at)
    local value, complement, scale, first = 0, 0, 1, at
    repeat
        local byte = bytes:byte(at)
        local low = byte % 128
        value = value + low * scale
        -- A negative number has ten bytes, the last of them a lone sign bit; Lua's doubles hold only its complement.
        if at - first < 9 then complement = complement + (127 - low) * scale end
        scale = scale * 128
        at = at + 1
    until byte < 128
    if at - first == 10 then value = -complement - 1 end
    return value, at
end

local function seconds_and_nanos(bytes)
    local fields, at = {0, 0}, 1  -- a field that is zero is not written
    while at <= #bytes do
        local tag = bytes:byte(at)
        fields[(tag - tag % 8) / 8], at = varint(bytes, at + 1)
    end
    return fields[1], fields[2]
end

local function newer(one, other)
    if one == other then return false end
    local s1, n1 = seconds_and_nanos(one)
    local s2, n2 = seconds_and_nanos(other)
    return s1 > s2 or (s1 == s2 and n1 > n2)
end

local written, at = 0, 1
while at <= #ARGV do
    local last = at + 2 + 2 * tonumber(ARGV[at + 2])
    local stored = redis.call('HGET', KEYS[1], ARGV[at])
    if not (stored and newer(stored, ARGV[at + 1])) then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1], unpack(ARGV, at + 3, last))
        written = written + 1
    end
    at = last + 1
end
return written
