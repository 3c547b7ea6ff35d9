-- KEYS: value, lease. ARGV: node, epoch, max_age, newer_than (epoch and asked_at, or two empty texts), how long the lease
-- lasts (or an empty text). Answers: now, value, whose lease it is (or an empty text), how long that lasts.
local node, lease = ARGV[1], tonumber(ARGV[6])
local now = millis()
local epoch, asked_at = stored_version()
local value, serves = false, false
if epoch == tonumber(ARGV[2]) then
  value = redis.call('GET', KEYS[1])
  serves = now - asked_at <= tonumber(ARGV[3])
    and (ARGV[4] == '' or newer(epoch, asked_at, tonumber(ARGV[4]), tonumber(ARGV[5])))
end
if serves or not lease then return { now, value, '', 0 } end

-- A lease that lasts longer than an hour, or has no owner, is nobody's.
local owner = look('GET', KEYS[2])
local left = owner and redis.call('PTTL', KEYS[2]) or 0
if owner and owner ~= node and left > 0 and left <= 3600000 and string.find(owner, '^%x+$') and #owner == #node then
  return { now, value, owner, left }
end
redis.call('SET', KEYS[2], node, 'PX', lease)
return { now, value, node, lease }
