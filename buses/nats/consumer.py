"""Messages from JetStream by durable consumers; each is acknowledged after our commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from buses.incoming.intake import Answer, Message
from buses.incoming.lanes import Progress
from buses.incoming.models import FILLS, SIGNALS
from buses.nats.client import Address, NatsClient, load_nats
from buses.nats.durable import Place, require_fit, require_ours, start_of
from buses.sinks import SinkUnavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

log = structlog.get_logger(__name__)
DEFAULT_STREAM = "FILLCAST-IN"
# A stream that we make; one that has the subjects already stays as it is. Its window of message ids
# is the server's shortest: it would drop what another sender calls the same; our rows find repeats.
KEEP_SECONDS, DUPLICATE_SECONDS, LARGEST_MESSAGE = 86_400.0, 0.1, 64 * 1024
ANSWER_SECONDS = 10.0
REDELIVERY_SECONDS = 30.0  # of what was delivered and not answered
AT_ONCE = 50
LONGEST_RETRY_SECONDS = 5.0
STORE_SECONDS = 10.0  # so often our database keeps how far the stream was read
LANES = {"signals": f"{SIGNALS}>", "fills": f"{FILLS}*"}
"""What is read, by name. Each has a durable consumer and a thread: none waits for another."""


class Cursor(Protocol):
    """Where our database keeps how far a lane was read."""

    def read(self) -> dict[str, str]:
        """Return what was stored last; {} if nothing was."""

    def store(self, kept: dict[str, str]) -> None:
        """Keep it for the process after this one."""


class NatsLane:
    """One durable consumer of a stream. Used by one thread.

    The server counts for us. Our database keeps a copy of its place, so that a consumer or a stream
    that is lost skips nothing.
    """

    def __init__(self, url: str, lane: str, *, tag: str, database: str, cursor: Cursor) -> None:
        """lane: one of LANES. tag: of this installation. database: the identity of its database; a
        consumer belongs to one. Raises SinkMisconfigured."""
        self._nats = load_nats()
        self._address = Address.parse(url, stream=DEFAULT_STREAM)
        self._client = NatsClient(self._address)
        self._lane, self._database = lane, database
        self._durable = f"fillcast-{tag}-{lane}"
        self._subscription: Any = None
        self._opened = 0  # the connection that the subscription is of
        self._stream, self._sequence = "", 0
        self.name = f"{self._address.name}#{lane}"
        self._cursor = cursor
        self._kept: dict[str, str] = {}
        self._place = Place(self._durable)
        self._stored = -inf  # monotonic

    @property
    def progress(self) -> Progress:
        """The stream, and the number in it of the newest message that was settled."""
        if not self._stream:
            return Progress()
        bus = f"{self._address.server}/{self._stream}"
        return Progress(bus, f"{self._stream}, message {self._sequence:,}")

    def poll(self, take: Callable[[Message], Answer], *, seconds: float) -> int:
        """Take what has come, waiting at most so many seconds for the first; return how many.

        Raises SinkUnavailable, DatabaseError.
        """
        jetstream = self._client.jetstream()
        try:
            if self._subscription is None or self._opened != self._client.opened:
                self._kept = self._cursor.read()
                work = self._subscribe(jetstream)
                self._subscription = self._client.run(work, seconds=ANSWER_SECONDS)
                self._opened, self._stored = self._client.opened, -inf
            if time.monotonic() - self._stored >= STORE_SECONDS:
                self._keep_place()
            fetching = self._fetch(seconds)
            delivered = self._client.run(fetching, seconds=seconds + ANSWER_SECONDS)
            for message in delivered:
                self._answer(message, take(self._read(message)))
        except (TimeoutError, self._nats.errors.Error) as error:
            self._subscription = None  # the consumer or its stream may have been removed
            raise SinkUnavailable(str(error) or type(error).__name__) from error
        return len(delivered)

    def close(self) -> None:
        """Give up the connection; what is not acknowledged comes again."""
        self._client.close()
        self._subscription = None

    async def _fetch(self, seconds: float) -> list[Msg]:
        try:
            first: list[Msg] = await self._subscription.fetch(1, timeout=seconds)
        except TimeoutError:
            return []
        try:
            more: list[Msg] = await self._subscription.fetch(AT_ONCE - 1, timeout=0.02)
        except TimeoutError:
            return first
        return [*first, *more]

    def _read(self, message: Msg) -> Message:
        details, headers = message.metadata, message.headers or {}
        stored_at = details.timestamp.astimezone(UTC)
        own = f"{details.sequence.stream}@{stored_at.isoformat()}"  # a new stream counts from 1
        prefix = f"{self._address.prefix}." if self._address.prefix else ""
        return Message(
            bus=f"{self._address.server}/{details.stream}",
            message_id=headers.get("Nats-Msg-Id") or own,
            subject=message.subject.removeprefix(prefix),
            body=message.data,
            stored_at=stored_at,
        )

    def _answer(self, message: Msg, answer: Answer) -> None:
        if answer is Answer.ACK:
            self._client.run(message.ack(), seconds=ANSWER_SECONDS)
            self._sequence = max(self._sequence, message.metadata.sequence.stream)
            return
        tries = message.metadata.num_delivered
        delay = min(0.25 * 2.0 ** min(tries, 10), LONGEST_RETRY_SECONDS)
        self._client.run(message.nak(delay=delay), seconds=ANSWER_SECONDS)

    def _keep_place(self) -> None:
        """Keep how far the stream is acknowledged."""
        work = self._subscription.consumer_info()
        floor = self._client.run(work, seconds=ANSWER_SECONDS).ack_floor
        kept = self._place._replace(sequence=str(floor.stream_seq))._asdict()
        if kept != self._kept:
            self._cursor.store(kept)
        self._kept, self._stored = kept, time.monotonic()

    async def _subscribe(self, jetstream: JetStreamContext) -> Any:
        """Bind to our consumer; make it and its stream if need be. Raises SinkUnavailable."""
        from nats.js import errors

        subject = self._address.subject(LANES[self._lane])
        stream = await self._find_stream(jetstream, subject)
        created = (await jetstream.stream_info(stream)).created
        self._place = Place(self._durable, stream, str(created))
        try:
            found = await jetstream.consumer_info(stream, self._durable)
        except errors.NotFoundError:
            start = start_of(self._kept, self._place)
            found = await jetstream.add_consumer(stream, self._config(subject, start))
        require_ours(found, self._database)
        require_fit(found, subject)
        settled = found.ack_floor.stream_seq if found.ack_floor else 0
        self._stream, self._sequence = stream, settled
        return await jetstream.pull_subscribe_bind(consumer=self._durable, stream=stream)

    async def _find_stream(self, jetstream: JetStreamContext, subject: str) -> str:
        from nats.js import api, errors

        try:
            found: str = await jetstream.find_stream_name_by_subject(subject)
        except errors.NotFoundError:
            address = self._address
            config = api.StreamConfig(
                name=address.stream, subjects=[address.subject(one) for one in LANES.values()],
                max_age=KEEP_SECONDS, duplicate_window=DUPLICATE_SECONDS,
                max_msg_size=LARGEST_MESSAGE, discard=api.DiscardPolicy.OLD,
            )  # fmt: skip
            await jetstream.add_stream(config)
            return address.stream
        return found

    def _config(self, subject: str, start: dict[str, Any]) -> Any:
        from nats.js import api

        return api.ConsumerConfig(
            durable_name=self._durable,
            filter_subject=subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=REDELIVERY_SECONDS,
            max_deliver=-1,  # we keep dead letters; the bus drops none
            max_ack_pending=AT_ONCE,
            metadata={"database": self._database},
            **start,
        )
