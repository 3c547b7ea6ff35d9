-- The largest value that is handed out, and the length of what stands in front of it.
local HEADER = 33
local LARGEST = 65536 + HEADER

-- Epoch and `asked_at` of the value that is stored, if one is.
local function stored_version()
  local length = look('STRLEN', KEYS[1])
  if not length or length < HEADER or length > LARGEST then return nil end
  local epoch, asked_at = struct.unpack('>I8i8', redis.call('GETRANGE', KEYS[1], 9, 24))
  if epoch >= 9007199254740992 or asked_at >= 9007199254740992 or asked_at < 0 then return nil end
  return epoch, asked_at
end

-- Whether the first version is greater than the second.
local function newer(epoch, asked_at, other_epoch, other_asked_at)
  return epoch > other_epoch or epoch == other_epoch and asked_at > other_asked_at
end
