-- KEYS: rate. ARGV: interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known, in microseconds. Answers how long
-- it is until the turn, or nothing if that is too long.
local interval, tolerance, tolerance_of_known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local max_wait, max_wait_of_known = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = micros()
local MINUTE = 60000000

-- When a question that keeps the interval exactly would be next, and when that was booked.
local next_turn, booked_at = string.match(look('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
next_turn, booked_at = number_in(next_turn) or now, number_in(booked_at) or now
local function store()
  -- What is in the past is as if it were not there.
  local lasts = math.max(math.ceil((next_turn - now) / 1000), 0) + 1
  redis.call('SET', KEYS[1], whole(next_turn) .. ' ' .. whole(now), 'PX', whole(lasts))
end

-- The clock was set back: what was booked is as far ahead as it was then.
local was_set_back = booked_at > now
if was_set_back then next_turn = now + math.max(next_turn - booked_at, 0) end
-- None is ever booked further ahead than this by processes that wait no longer than this one.
local furthest = now + tolerance_of_known + math.max(max_wait, max_wait_of_known) + interval
if next_turn > furthest + MINUTE then next_turn = now end
if next_turn > furthest then
  return redis.error_reply('ERR the turns of the rate limit are booked further ahead than this process may wait')
end
local delay = math.max(next_turn - tolerance - now, 0)
local delay_of_known = math.max(next_turn - tolerance_of_known - now, 0)
if delay > max_wait or delay_of_known > max_wait_of_known then
  if was_set_back then store() end
  return false
end
next_turn = math.max(next_turn, now) + interval
store()
return whole(delay)
