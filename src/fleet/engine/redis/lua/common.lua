-- The beginning of each script. Numbers are exact below 2^53, and what is not is taken for nobody's.

-- The server's time, in microseconds since the Unix epoch.
local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function millis()
  return math.floor(micros() / 1000)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- What a command that reads says; nothing, if a value of another type stands under the name.
local function look(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    if string.find(answer.err, 'WRONGTYPE', 1, true) then return false end
    return redis.call(...)
  end
  return answer
end

-- The number that a text says, or nothing.
local function number_in(text)
  local number = type(text) == 'string' and string.match(text, '^%d+$') and tonumber(text)
  return number and number < 9007199254740992 and number
end
