-- KEYS: lease. ARGV: node, how long it lasts from now on.
if look('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
