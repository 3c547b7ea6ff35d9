-- KEYS: rate. ARGV: interval, tolerance, tolerance_of_known, max_wait, max_wait_of_known, in microseconds. Answers how long
-- it is until the turn, or nothing.
local interval, tolerance, tolerance_of_known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local max_wait, max_wait_of_known = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = micros()
-- When a question that keeps the interval exactly would be next. None is ever booked further ahead than this, with a
-- minute for those that may wait longer than this one: the clock was set back.
local MINUTE = 60000000
local next_turn = number_in(look('GET', KEYS[1])) or now
local furthest = now + tolerance_of_known + math.max(max_wait, max_wait_of_known) + interval
if next_turn > furthest + MINUTE then next_turn = now end
local delay = math.max(next_turn - tolerance - now, 0)
local delay_of_known = math.max(next_turn - tolerance_of_known - now, 0)
if delay > max_wait or delay_of_known > max_wait_of_known then return false end
next_turn = math.max(next_turn, now) + interval
-- What is in the past is as if it were not there.
redis.call('SET', KEYS[1], whole(next_turn), 'PX', whole(math.ceil((next_turn - now) / 1000) + 1))
return whole(delay)
