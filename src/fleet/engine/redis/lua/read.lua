-- KEYS: records, meta, nodes. ARGV: number and nonce of `after` (or two empty texts), limit, node (or an empty text),
-- forget_after, settings. Answers: now, epoch, number of the oldest record, number and nonce of the last,
-- whether what was read before is a beginning, records (identifier and record).
local LARGEST, FORGET_AT_ONCE = 65536, 16
local log, problem = open_log()
if not log then return problem end
local first = log.oldest and id_of(log.oldest) or log.number + 1
local after, nonce = tonumber(ARGV[1]), ARGV[2]

local continues = true
if after == log.number then
  continues = nonce == log.nonce
elseif after and after < first then
  continues = after == first - 1
elseif after then
  continues = redis.call('XRANGE', KEYS[1], whole(after) .. '-' .. nonce, whole(after) .. '-' .. nonce)[1] ~= nil
end

local records = {}
local from = after and whole(after + 1) or '-'
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[3])) do
  local record = entry[2][3] == 'r' and entry[2][4] or ''
  -- Nobody can read an empty one.
  if #record > LARGEST then record = '' end
  records[#records + 1] = { entry[1], record }
end

if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[4], whole(log.now) .. ' ' .. ARGV[5] .. ' ' .. ARGV[6])
  -- A few of the others, drawn at random: in a while all of those that are gone are forgotten.
  local drawn = redis.call('HRANDFIELD', KEYS[3], FORGET_AT_ONCE, 'WITHVALUES')
  for at = 1, #drawn, 2 do
    local written, forget_after = string.match(drawn[at + 1], '^(%d+) (%d+) ')
    if not written or log.now - tonumber(written) > tonumber(forget_after) then
      redis.call('HDEL', KEYS[3], drawn[at])
    end
  end
end
return { log.now, whole(log.epoch), whole(first), whole(log.number), log.nonce, continues and 1 or 0, records }
