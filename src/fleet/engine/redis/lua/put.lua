-- KEYS: value, lease. ARGV: node, value, epoch, asked_at, until, only_replace (1 or 0). Answers: whether there was a
-- value, whether this one is stored.
local epoch, asked_at = stored_version()
local wanted = epoch or ARGV[6] == '0'
if epoch and not newer(tonumber(ARGV[3]), tonumber(ARGV[4]), epoch, asked_at) then wanted = false end
if wanted then
  -- One that is over already still takes the place of the older one.
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', whole(math.max(tonumber(ARGV[5]), millis() + 1)))
end
if look('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return { epoch and 1 or 0, wanted and 1 or 0 }
