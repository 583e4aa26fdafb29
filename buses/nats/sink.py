"""Events to a JetStream stream, each once within its window of message ids."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from buses.envelope import Envelope
from buses.nats.client import Address, NatsClient, load_nats, to_token
from buses.sinks import SinkRefused, SinkUnavailable, name_of

if TYPE_CHECKING:
    from nats.js import JetStreamContext

DEFAULT_STREAM = "FILLCAST"
ROOTS = ("orders", "fills", "positions", "events")
WRITE_SECONDS = 10.0
DAY = 86_400.0
# A stream that we make. An installation that wants others makes the stream itself.
KEEP_SECONDS, DUPLICATE_SECONDS = 7 * DAY, 3600.0
MESSAGE_TOO_LARGE, SUBJECTS_OVERLAP, MAXIMUM_REACHED = 10054, 10065, 10077


def open_sink(url: str) -> NatsSink:
    """Return the sink of a URL. Raises SinkMisconfigured."""
    return NatsSink(Address.parse(url, stream=DEFAULT_STREAM), name_of(url))


def subject_parts(envelope: Envelope) -> tuple[str, ...]:
    """Return the subject of an event: `orders.{status}.{symbol}`, `fills.{symbol}`,
    `positions.{what happened}.{symbol}`, `events.{type}`."""
    kind = envelope.type.removeprefix("fillcast.").rpartition(".")[0] or envelope.type
    symbol = to_token(str(envelope.data.get("symbol") or ""))
    if kind == "order_update":
        return "orders", to_token(str(envelope.data.get("status") or "").lower()), symbol
    if kind == "fill":
        return "fills", symbol
    if kind.startswith("position_"):
        return "positions", to_token(kind.removeprefix("position_")), symbol
    return "events", to_token(kind)


class NatsSink:
    """Writes a batch by concurrent publications, in order, and waits for every acknowledgement."""

    def __init__(self, address: Address, name: str) -> None:
        self._nats = load_nats()
        self._address = address
        self._client = NatsClient(address)
        self._has_stream = False
        self.name = name

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write events. Raises SinkUnavailable, SinkRefused."""
        jetstream = self._client.jetstream()
        try:
            if not self._has_stream:
                self._client.run(self._require_stream(jetstream), seconds=WRITE_SECONDS)
                self._has_stream = True
            work = self._publish(jetstream, envelopes)
            answers = self._client.run(work, seconds=WRITE_SECONDS + 1)
        except TimeoutError as error:
            raise SinkUnavailable("no answer in time") from error
        self._judge(envelopes, answers)

    def close(self) -> None:
        """Give up the connection."""
        self._client.close()

    async def _publish(self, jetstream: JetStreamContext, envelopes: Sequence[Envelope]) -> Any:
        # Not `publish_async`: in nats-py 2.16 a publication that the server refuses is never
        # answered there, so that a full stream would look like a slow one.
        calls = [
            jetstream.publish(
                self._address.subject(*subject_parts(envelope)),
                envelope.to_json(),
                timeout=WRITE_SECONDS,
                stream=self._address.stream,
                headers={
                    "Nats-Msg-Id": f"{envelope.source}/{envelope.id}",
                    "Content-Type": "application/cloudevents+json",
                },
            )
            for envelope in envelopes
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    def _judge(self, envelopes: Sequence[Envelope], answers: Sequence[Any]) -> None:
        """Raise what the answers mean. What another one may still change comes first."""
        failed = [
            (envelope, answer)
            for envelope, answer in zip(envelopes, answers, strict=True)
            if isinstance(answer, BaseException)
        ]
        for _, error in failed:
            if not self._is_refusal(error):
                self._has_stream = False  # it may have been removed
                raise SinkUnavailable(self._explain(error)) from error
        for envelope, error in failed:
            raise SinkRefused(envelope.id, _text(error)) from error

    def _is_refusal(self, error: BaseException) -> bool:
        """Whether the stream would never take the event, as it is set up now."""
        too_large = getattr(error, "err_code", None) == MESSAGE_TOO_LARGE
        return too_large or isinstance(error, self._nats.errors.MaxPayloadError)

    async def _require_stream(self, jetstream: JetStreamContext) -> None:
        """Make the stream if there is none. Raises SinkUnavailable."""
        from nats.js import api, errors

        address, subjects = self._address, [self._address.subject(root, ">") for root in ROOTS]
        try:
            await jetstream.stream_info(address.stream)
        except errors.NotFoundError:
            config = api.StreamConfig(
                name=address.stream, subjects=subjects, max_age=KEEP_SECONDS,
                duplicate_window=DUPLICATE_SECONDS, discard=api.DiscardPolicy.OLD,
            )  # fmt: skip
            try:
                await jetstream.add_stream(config)
            except self._nats.errors.Error as error:
                raise SinkUnavailable(self._explain(error)) from error
        except self._nats.errors.Error as error:
            raise SinkUnavailable(self._explain(error)) from error

    def _explain(self, error: BaseException) -> str:
        """Return what an error means, and what to do about those that do not go away."""
        address = self._address
        if getattr(error, "err_code", None) == SUBJECTS_OVERLAP:
            return (
                f"another stream of {address.server} has subjects such as"
                f" {address.subject('orders', '>')}: name it in the URL, or set ?prefix= if another"
                " installation uses it"
            )
        if isinstance(error, self._nats.js.errors.NoStreamResponseError):
            return (
                f"the stream {address.stream} does not have all of the subjects"
                f" {', '.join(address.subject(root, '>') for root in ROOTS)}: add them"
            )
        if getattr(error, "err_code", None) == MAXIMUM_REACHED:
            return f"the stream {address.stream} is full and discards nothing"
        return _text(error)


def _text(error: BaseException) -> str:
    description = getattr(error, "description", "") or str(error).removeprefix("nats: ")
    return description or type(error).__name__
