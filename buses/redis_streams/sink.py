"""Write events to a Redis stream, each once for as long as the stream keeps it.

URL: redis+stream://[user:password@]host[:port]/STREAM[?maxlen=1000000&db=0]; rediss+stream:// with
TLS. Beside the stream, `{STREAM}:ids` has the ids of what is in it, and is trimmed with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from buses.envelope import Envelope
from buses.sinks import SinkMisconfigured, SinkUnavailable, name_of

CONNECT_SECONDS, CALL_SECONDS = 5, 20
MAXLEN = 1_000_000  # about 1 GB
_STREAM = re.compile(r"[A-Za-z0-9:._-]{1,100}")
EXPECTED = "redis+stream://host:port/STREAM?maxlen=1000000&db=0"

# One script, so that an id and its entry are written together, or neither. An entry that was
# trimmed is written again. The score keeps the order: the number of entries ever added.
WRITE = """
local added = 0
for i = 2, #ARGV, 4 do
  if redis.call('ZSCORE', KEYS[2], ARGV[i]) == false then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
      'id', ARGV[i], 'type', ARGV[i + 1], 'subject', ARGV[i + 2], 'event', ARGV[i + 3])
    redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[i])
    added = added + 1
  end
end
local over = redis.call('ZCARD', KEYS[2]) - redis.call('XLEN', KEYS[1])
if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, over - 1) end
return {added, (#ARGV - 1) / 4}
"""


class RedisStreamSink:
    """Writes to one stream."""

    def __init__(self, client: Redis, name: str, stream: str, maxlen: int) -> None:
        """name: without secrets. maxlen: about how many entries the stream keeps."""
        self.name, self._client, self._maxlen = name, client, maxlen
        tagged = f"{{{stream}}}"
        self._keys = [stream, f"{tagged}:ids", f"{tagged}:count"]
        self._script = client.register_script(WRITE)

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write events that the stream does not have."""
        arguments: list[Any] = [self._maxlen]
        for one in envelopes:
            arguments += [one.id, one.type, one.subject, one.to_json()]
        try:
            answer: Any = self._script(keys=self._keys, args=arguments)
        except ResponseError as error:
            raise SinkUnavailable(_explained(error, self._keys[0])) from error
        except RedisError as error:
            raise SinkUnavailable(f"Redis does not answer: {error}") from error
        if answer[1] != len(envelopes):
            raise SinkUnavailable(f"Redis confirmed {answer[1]} of {len(envelopes)} events.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_sink(url: str) -> RedisStreamSink:
    """Return the sink of a URL; connects with the first write. Raises SinkMisconfigured."""
    parts = urlsplit(url)
    stream, options = unquote(parts.path.lstrip("/")), parse_qs(parts.query)
    if not parts.hostname or not _STREAM.fullmatch(stream):
        raise SinkMisconfigured(
            f"The URL of a Redis stream needs a host and a stream's name, as {EXPECTED}."
        )
    if unknown := set(options) - {"maxlen", "db"}:
        raise SinkMisconfigured(
            f"A Redis stream has no option {', '.join(sorted(unknown))}: {EXPECTED}."
        )
    maxlen = _number(options, "maxlen", MAXLEN, lowest=1)
    client = Redis(
        host=parts.hostname,
        port=parts.port or 6379,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        db=_number(options, "db", 0, lowest=0),
        ssl=parts.scheme.startswith("rediss"),
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=CALL_SECONDS,
    )
    return RedisStreamSink(client, name_of(url), stream, maxlen)


def _number(options: dict[str, list[str]], name: str, default: int, *, lowest: int) -> int:
    text = options.get(name, [str(default)])[-1]
    if not re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) or int(text) < lowest:
        raise SinkMisconfigured(f"{name} of a Redis stream is a number from {lowest}: {EXPECTED}.")
    return int(text)


def _explained(error: ResponseError, stream: str) -> str:
    """Return what an error of Redis means, with what to do."""
    if "WRONGTYPE" in str(error):
        return f"{stream} is no stream in this Redis: choose another name, or delete that key."
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):  # whose text the client cuts
        return "Redis is full (maxmemory): give it more, or a smaller maxlen in the URL."
    return f"Redis refused: {error}"
