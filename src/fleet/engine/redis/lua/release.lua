-- KEYS: lease. ARGV: node.
if look('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
