"""What is done inside the server, so that it is one step: Lua, one key each, time by the server.

They run the same on one server and on a cluster. `call` sends one; `madang.bus.redis_servers`
teaches them to every server it connects to.
"""

from __future__ import annotations

import hashlib


class Script:
    """A script and the name the server knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, key: bytes, *arguments: str | int) -> tuple[str | bytes | int, ...]:
        return ("EVALSHA", self.sha, 1, key, *arguments)


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# A field of a presence hash is a node, its value `STATUS DEVICES EXPIRY ZONES`. What ran out and
# nobody has taken away yet is still what others see: it counts in `before`.
_HELD = (
    _NOW
    + """
local at = string.format('%.0f', time[1] * 1000000 + time[2])
local rank = {offline = 0, away = 1, online = 2, dnd = 3}
local function better(one, other)
  if rank[one] > rank[other] then return one end
  return other
end
local function read(value)
  local status, devices, expiry, zones = string.match(value, '^(%l+) (%d+) (%d+) (.*)$')
  if rank[status or ''] then return status, tonumber(devices), tonumber(expiry), zones end
  return 'offline', 0, 0, '[]'
end
"""
)

HOLD = Script(
    _HELD
    + """
-- KEYS: presence. ARGV: node, status, devices, milliseconds of the lease and of the key, zones.
-- Sets or ends the node's lease, and takes away what ran out. Returns {before, now, microseconds}.
local before, after = 'offline', 'offline'
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local status, _, expiry = read(held[i + 1])
  before = better(status, before)
  if held[i] ~= ARGV[1] then
    if expiry <= now then
      redis.call('HDEL', KEYS[1], held[i])
    else
      after = better(status, after)
    end
  end
end
if tonumber(ARGV[3]) > 0 then
  local value = string.format('%s %d %.0f %s', ARGV[2], ARGV[3], now + ARGV[4], ARGV[6])
  redis.call('HSET', KEYS[1], ARGV[1], value)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  after = better(ARGV[2], after)
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {before, after, at}
"""
)

PRUNE = Script(
    _HELD
    + """
-- KEYS: presence. ARGV: node.
-- Takes away what ran out. Returns {before, now, microseconds, whether the node still holds one}.
local before, after, holds = 'offline', 'offline', 0
local held = redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  local status, _, expiry = read(held[i + 1])
  before = better(status, before)
  if expiry <= now then
    redis.call('HDEL', KEYS[1], held[i])
  else
    after = better(status, after)
    if held[i] == ARGV[1] then holds = 1 end
  end
end
return {before, after, at, holds}
"""
)

PRESENT = Script(
    _HELD
    + """
-- KEYS: presence. Returns {status, devices, zones of each} of the leases that run.
local best, sum, all = 'offline', 0, {}
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local status, devices, expiry, zones = read(value)
  if expiry > now then
    best = better(status, best)
    sum = sum + devices
    all[#all + 1] = zones
  end
end
return {best, sum, all}
"""
)

BEAT = Script(
    _NOW
    + """
-- KEYS: nodes, a sorted set by when they are taken for gone. ARGV: node, milliseconds.
-- Returns whether the node was known and not taken for gone.
local until_ = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if until_ and tonumber(until_) > now then return 1 end
return 0
"""
)

GONE = Script(
    _NOW
    + """
-- KEYS: nodes. Returns some that are gone, those for the longest time first.
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 16)
"""
)

FORGET = Script(
    _NOW
    + """
-- KEYS: nodes. ARGV: node. Forgets it, unless it is back.
local until_ = redis.call('ZSCORE', KEYS[1], ARGV[1])
if until_ and tonumber(until_) <= now then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
"""
)

SPEND = Script(
    """
-- KEYS: rate. ARGV: microseconds by which the due time moves; below 0 they are given back.
-- Generic cell rate algorithm; returns how far the due time lies ahead, in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local due = tonumber(redis.call('GET', KEYS[1]) or 0)
if due < now then due = now end
due = due + ARGV[1]
if due > now then
  local value = string.format('%.0f', due)
  redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', math.ceil((due - now) / 1000)))
  return due - now
end
redis.call('DEL', KEYS[1])
return 0
"""
)

ACQUIRE = Script(
    """
-- KEYS: what is owned. ARGV: node, milliseconds. Returns whether it is the node's now.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

RELEASE = Script(
    """
-- KEYS: what is owned. ARGV: node.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
)

ALL = (HOLD, PRUNE, PRESENT, BEAT, GONE, FORGET, SPEND, ACQUIRE, RELEASE)
