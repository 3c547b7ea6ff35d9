-- KEYS: nodes. Answers for each: identifier, how long ago, settings.
local LARGEST, MOST = 65536, 4096
if redis.call('HLEN', KEYS[1]) > MOST then return redis.error_reply('ERR more nodes than a fleet may have') end
local now = millis()
local nodes = {}
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  local written, forget_after, settings = string.match(all[at + 1], '^(%d+) (%d+) (.*)$')
  if written and #settings <= LARGEST then
    local ago = now - tonumber(written)
    if ago <= tonumber(forget_after) then
      nodes[#nodes + 1] = { all[at], whole(math.max(ago, 0)), settings }
    end
  end
end
return nodes
