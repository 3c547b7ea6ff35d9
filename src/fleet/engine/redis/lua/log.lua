-- How far the clock may go back, and how exactly the greatest time is known, in milliseconds. With the time from one
-- reading of the log to the next that makes less than CLOCK_TOLERANCE.
local BACK, EXACT = 20, 100

local function id_of(entry)
  local number, nonce = string.match(entry[1], '^(%d+)%-(%d+)$')
  return tonumber(number), nonce
end

-- The log that `KEYS` (records, meta) hold, as a table with `epoch`, `number` and `nonce` of the last record, `now`, and
-- `oldest`, the first entry that is kept. A new epoch begins here, if one has to.
local function open_log()
  local now = millis()
  local info = redis.call('INFO', 'replication')
  -- Behind a name that led to a master before, or a sentinel that did not know yet.
  if not string.find(info, 'role:master', 1, true) then
    return nil, redis.error_reply('READONLY this server is a replica')
  end
  local replication = string.match(info, 'master_replid:(%x+)') or ''
  local meta = redis.call('HMGET', KEYS[2], 'epoch', 'number', 'nonce', 'replication', 'seen')
  local log = {
    now = now,
    epoch = number_in(meta[1]),
    number = number_in(meta[2]) or 0,
    nonce = type(meta[3]) == 'string' and string.match(meta[3], '^%d+$') or '0',
  }
  local seen = number_in(meta[5])
  log.oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local newest = log.oldest and redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  local is_known = log.epoch and seen and meta[4] == replication and now >= seen - BACK
  if newest then
    local number, nonce = id_of(newest)
    if number > log.number or number == log.number and nonce ~= log.nonce then
      log.number, log.nonce, is_known = number, nonce, false
    end
  end
  if log.number >= 9007199254740991 then
    return nil, redis.error_reply('ERR the number of the last record is absurd; delete the keys of the log')
  end
  if not is_known then
    log.epoch = math.max(now, (log.epoch or 0) + 1)
    redis.call('HSET', KEYS[2], 'epoch', whole(log.epoch), 'number', whole(log.number), 'nonce', log.nonce,
      'replication', replication, 'seen', whole(now))
  elseif now >= seen + EXACT then
    redis.call('HSET', KEYS[2], 'seen', whole(now))
  end
  return log
end
