"""The token bucket in Redis, on Redis' own clock, and the client for it.

One script call for each rate limit, all of them in one round trip. The hash `budget:<name>` holds:
- level, at: the bucket's level and its time;
- own_until: until then all processes use their own shares;
- backoff_until: until then the broker accepts no request;
- line, line_rank, line_until: the process whose requests of this priority are next, so that no
  request of the same or a later priority overtakes a large one for ever;
- line_last: the latest priority for which that process was next and still has a request. It is next
  again as soon as its more urgent request was admitted.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brokers.rate_limits.token_bucket import FLOORS, Grant, Rate, RequestBatch

if TYPE_CHECKING:
    from redis.asyncio import Redis

TTL_SECONDS = 3600  # longer than any bucket needs to fill up
SET_BACK_SECONDS = 10  # longer than SETTLE_SECONDS; a clock set back by less delays little
CONNECT_SECONDS = 0.25
SCRIPT = """
local key, number = KEYS[1], tonumber
local rate, burst, exit_reserve = number(ARGV[1]), number(ARGV[2]), number(ARGV[3])
local me, returned, settle = ARGV[4], ARGV[5] == '1', number(ARGV[6])
local rest, ahead, urgent = number(ARGV[7]), number(ARGV[8]), number(ARGV[9])
local time = redis.call('TIME')
local now = number(time[1]) + number(time[2]) / 1000000
local function text(value) return string.format('%.6f', value) end

local state = redis.call('HMGET', key, 'level', 'at', 'own_until', 'backoff_until', 'line',
                         'line_until', 'line_rank', 'line_last')
local level, at = number(state[1] or ''), number(state[2] or '')
local own_until, backoff_until = number(state[3] or 0), number(state[4] or 0)
local line, line_until, line_rank = state[5] or '', number(state[6] or 0), number(state[7] or 0)
local line_last = number(state[8] or 0)
if at and at > now + SET_BACK then -- Redis' clock was set back: the stored times are too late
  own_until, backoff_until, line_until = own_until - (at - now), backoff_until - (at - now), 0
  at = now
end
if line_until < now then line = '' end

if rest > 0 then backoff_until = math.max(backoff_until, now + rest) end
if returned then own_until = now + settle end -- others may still use their own shares
if own_until > now then
  level = math.min(level or 0, 0, (own_until - backoff_until) * rate)
  redis.call('HSET', key, 'level', text(level), 'at', text(own_until),
             'own_until', text(own_until), 'backoff_until', text(backoff_until))
  redis.call('EXPIRE', key, TTL)
  return {'own', text(math.max(0, backoff_until - now))}
end
-- no state: requests may have been sent just before
if not level then level, at = exit_reserve, now end
level = math.min(burst, level + math.max(0, now - at) * rate)
if rest > 0 then level = math.min(level, -rest * rate) end

local answer, place = {'shared', '0', 0, 0}, 10
for i = 1, urgent do
  local tokens, longest = number(ARGV[place]), number(ARGV[place + 1])
  local wait = math.max(0, math.min(tokens, burst) - level) / rate
  if longest >= 0 and wait > longest then
    wait = -1
  else
    level = level - tokens
  end
  answer[4 + i] = text(wait)
  place = place + 2
end

local wait, mine, refused, had_turn = 0, line == me, nil, false
if mine and ARGV[place] then -- a priority without a request any more is not next
  line_last = math.min(line_last, number(ARGV[#ARGV]))
  line_rank = math.min(line_rank, line_last)
end
while ARGV[place] do
  local tokens, priority = number(ARGV[place]), number(ARGV[place + 1])
  if line ~= '' and not mine and priority >= line_rank then
    wait = math.max(0.001, line_until - now)
    break
  end
  local floor = math.min(exit_reserve * FLOORS[priority], burst - tokens)
  if level - tokens < floor then
    wait, refused = (floor + tokens - level) / rate, priority
    break
  end
  level = level - tokens
  answer[3] = answer[3] + 1
  had_turn = had_turn or (mine and priority >= line_rank)
  place = place + 2
end
if had_turn and refused and line_last > line_rank then
  line_rank, line_until = line_last, now + wait + 0.02 -- its earlier request is next again
elseif had_turn then
  line, line_until = '', 0 -- the first request to come is next
elseif refused and (mine or line == '' or refused < line_rank) then
  line_last = mine and math.max(line_last, refused) or refused
  line, line_until, line_rank = me, now + wait + 0.02, refused
end
if wait == 0 and ahead > 0 and level - ahead >= burst / 2 then
  level = level - ahead
  answer[4] = ahead
end
redis.call('HSET', key, 'level', text(level), 'at', text(now), 'backoff_until', text(backoff_until),
           'line', line, 'line_until', text(line_until), 'line_rank', line_rank,
           'line_last', line_last)
redis.call('EXPIRE', key, TTL)
answer[2] = text(wait)
return answer
"""
_CONSTANTS = {
    "FLOORS[": "({" + ", ".join(f"[{int(r)}] = {part}" for r, part in FLOORS.items()) + "})[",
    "TTL)": f"{TTL_SECONDS})",
    "SET_BACK": f"{SET_BACK_SECONDS}",
}
for _name, _value in _CONSTANTS.items():
    SCRIPT = SCRIPT.replace(_name, _value)


@dataclass(frozen=True, slots=True)
class OwnShare:
    """All processes use their own shares for now. back_off: seconds without any request."""

    back_off: float


@dataclass(frozen=True, slots=True)
class BucketRequest:
    """A batch for one rate limit. returned: this process used its own share until a moment ago;
    settle: for how many seconds all processes then continue with their own shares."""

    name: str
    rate: Rate
    batch: RequestBatch
    returned: bool = False
    settle: float = 0.0


class RedisBucketClient:
    """One loop's connection to Redis."""

    def __init__(self, url: str, me: str) -> None:
        self._url, self._me = url, me
        self._redis: Redis | None = None

    async def connect(self) -> "Redis":
        """Return the connection; open it first if there is none.

        Raises within CONNECT_SECONDS whatever the Redis client raises."""
        if self._redis is None:
            from redis.asyncio import Redis  # here: many processes import adapters without using it
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            async with asyncio.timeout(CONNECT_SECONDS):
                redis = Redis.from_url(
                    self._url, socket_timeout=CONNECT_SECONDS, retry=Retry(NoBackoff(), 0)
                )
                await redis.ping()
            self._redis = redis
        return self._redis

    async def take(self, requests: Sequence[BucketRequest]) -> list[Grant | OwnShare]:
        """Return what each rate limit grants, or `OwnShare` if processes use their own shares now.

        Raises whatever the Redis client raises.
        """
        pipe = (await self.connect()).pipeline(transaction=False)
        for request in requests:
            pipe.eval(SCRIPT, 1, f"budget:{request.name}", *script_arguments(request, self._me))
        return [_read_grant(answer) for answer in await pipe.execute()]

    async def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()


def script_arguments(request: BucketRequest, me: str) -> list[str | float]:
    """Return the arguments of SCRIPT. me: the id of this process's loop."""
    rate, batch = request.rate, request.batch
    arguments: list[str | float] = [rate.per_second, rate.burst, rate.exit_reserve * rate.burst, me]
    arguments += [
        int(request.returned),
        request.settle,
        batch.back_off,
        batch.ahead,
        len(batch.urgent),
    ]
    for tokens, max_wait in batch.urgent:
        arguments += [tokens, -1 if max_wait is None else max_wait]
    for tokens, priority in batch.others:
        arguments += [tokens, int(priority)]
    return arguments


def _read_grant(answer: Sequence[bytes | int]) -> Grant | OwnShare:
    mode, *numbers = answer
    if mode == b"own":
        return OwnShare(float(numbers[0]))
    wait, others, ahead, *urgent = (float(number) for number in numbers)
    return Grant([None if w < 0 else w for w in urgent], int(others), wait, ahead)
