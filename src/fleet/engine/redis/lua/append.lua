-- KEYS: records, meta. ARGV: record, nonce, retention, max_records. Answers: epoch, number.
-- So many entries are looked at, or let go for being too many, in one call: more than come in.
local AT_ONCE = 32
local log, problem = open_log()
if not log then return problem end
local number = log.number + 1
redis.call('XADD', KEYS[1], whole(number) .. '-' .. ARGV[2], 't', whole(log.now), 'r', ARGV[1])
redis.call('HSET', KEYS[2], 'number', whole(number), 'nonce', ARGV[2])

-- Nothing that is as new as the retention goes, and neither does the newest record.
local keep_from
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', AT_ONCE)) do
  keep_from = entry[1]
  local written = entry[2][1] == 't' and number_in(entry[2][2]) or 0
  if log.now - written <= tonumber(ARGV[3]) or id_of(entry) == number then break end
end
if keep_from then redis.call('XTRIM', KEYS[1], 'MINID', '=', keep_from) end
local most = math.max(tonumber(ARGV[4]), 1)
local length = redis.call('XLEN', KEYS[1])
if length > most then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', whole(math.max(most, length - AT_ONCE)))
end
return { whole(log.epoch), whole(number) }
