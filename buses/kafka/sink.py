"""Events to a Kafka topic, by an idempotent producer; those of an account stay in order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from buses.envelope import Envelope
from buses.sinks import SinkMisconfigured, SinkRefused, SinkUnavailable, name_of

if TYPE_CHECKING:
    from confluent_kafka import Producer

REQUIREMENTS = "requirements-buses.txt"
DEFAULT_TOPIC = "order_execution_archive"
WRITE_SECONDS = 10.0
OPTIONS = ("broker", "ca", "sasl", "tls")
log = logging.getLogger("buses.kafka")


def load_kafka() -> ModuleType:
    """Return the client library. Raises SinkMisconfigured if it is not installed."""
    try:
        import confluent_kafka
    except ImportError as error:
        detail = f"Kafka needs confluent-kafka: pip install -r {REQUIREMENTS}"
        raise SinkMisconfigured(detail) from error
    loaded: ModuleType = confluent_kafka
    return loaded


@dataclass(frozen=True, slots=True)
class Address:
    """Which brokers to ask first, which topic, and the settings of the connection."""

    brokers: tuple[str, ...]
    topic: str
    security: dict[str, Any]

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `kafka://user:password@host:9092/topic?broker=host2:9092&tls=yes&ca=/a/file`.

        broker: more to ask first, as often as needed. sasl: the mechanism, PLAIN if there is a
        user. Raises SinkMisconfigured.
        """
        parts, options = urlsplit(url), parse_qs(urlsplit(url).query)
        if not parts.hostname:
            raise SinkMisconfigured("The URL kafka:// names no broker: kafka://host:9092")
        if unknown := sorted(options.keys() - set(OPTIONS)):
            known = ", ".join(OPTIONS)
            raise SinkMisconfigured(f"kafka:// knows {known}; not {', '.join(unknown)}.")
        is_encrypted = options.get("tls", ["no"])[-1] == "yes"
        protocol = ("SASL_" if parts.username else "") + ("SSL" if is_encrypted else "PLAINTEXT")
        security: dict[str, Any] = {"security.protocol": protocol}
        if "ca" in options:
            if not Path(options["ca"][-1]).is_file():
                raise SinkMisconfigured(f"kafka://: there is no file {options['ca'][-1]}.")
            security["ssl.ca.location"] = options["ca"][-1]
        if parts.username:
            security |= {
                "sasl.mechanism": options.get("sasl", ["PLAIN"])[-1],
                "sasl.username": unquote(parts.username),
                "sasl.password": unquote(parts.password or ""),
            }
        first = f"{parts.hostname}:{parts.port or 9092}"
        topic = parts.path.strip("/") or DEFAULT_TOPIC
        return cls((first, *options.get("broker", [])), topic, security)

    @property
    def name(self) -> str:
        """The first broker and the topic, without secrets."""
        return f"kafka://{self.brokers[0]}/{self.topic}"


def open_sink(url: str) -> KafkaSink:
    """Return the sink of a URL. Raises SinkMisconfigured."""
    return KafkaSink(Address.parse(url), name_of(url))


class KafkaSink:
    """Hands a batch to the producer and waits until each event is confirmed by all replicas."""

    def __init__(self, address: Address, name: str) -> None:
        self._kafka = load_kafka()
        self._address = address
        self._producer: Producer | None = None
        self.name = name
        self._settings: dict[str, Any] = {
            "bootstrap.servers": ",".join(address.brokers),
            "client.id": "fillcast",
            "enable.idempotence": True,  # the client's own repetitions store nothing twice
            "message.timeout.ms": int(WRITE_SECONDS * 1000),
            "socket.timeout.ms": int(WRITE_SECONDS * 1000),
            "linger.ms": 5,
            "log.connection.close": False,
            **address.security,
        }
        try:  # says at once what is wrong with the settings; connects later
            self._producer = self._open()
        except self._kafka.KafkaException as error:
            raise SinkMisconfigured(f"{self.name}: {_text(error)}") from error

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write events. Raises SinkUnavailable, SinkRefused."""
        producer = self._producer or self._open()
        self._producer = producer
        errors: dict[int, Any] = {}
        for number, envelope in enumerate(envelopes):
            try:
                self._produce(producer, envelope, number, errors)
            except BufferError as error:  # its memory is full of what the brokers do not take
                self._give_up()
                raise SinkUnavailable("the brokers take nothing") from error
        if producer.flush(WRITE_SECONDS + 1):
            self._give_up()
            raise SinkUnavailable("no answer in time")
        self._judge(envelopes, errors)

    def close(self) -> None:
        """Give up the connections and what is not sent; may be called twice."""
        self._give_up()

    def _open(self) -> Producer:
        producer: Producer = self._kafka.Producer(dict(self._settings), logger=log)
        return producer

    def _produce(
        self, producer: Producer, envelope: Envelope, number: int, errors: dict[int, Any]
    ) -> None:
        def on_delivery(error: Any, _message: Any) -> None:
            if error is not None:
                errors[number] = error

        headers = {f"ce_{name}": text.encode() for name, text in envelope.attributes().items()}
        headers.pop("ce_datacontenttype")
        headers["content-type"] = b"application/cloudevents+json"
        try:
            producer.produce(
                self._address.topic,
                # One partition for each account: its events stay in order.
                key=(envelope.account_id or envelope.subject).encode(),
                value=envelope.to_json(),
                headers=list(headers.items()),
                on_delivery=on_delivery,
            )
        except self._kafka.KafkaException as error:
            errors[number] = error.args[0]
        producer.poll(0)

    def _judge(self, envelopes: Sequence[Envelope], errors: dict[int, Any]) -> None:
        """Raise what the errors mean. What may still change comes first."""
        code = self._kafka.KafkaError
        refusals = {code.MSG_SIZE_TOO_LARGE, code.INVALID_RECORD, code.INVALID_MSG}
        for error in errors.values():
            if error.code() not in refusals:
                self._give_up()  # a producer that had a fatal error sends nothing any more
                raise SinkUnavailable(error.str())
        for number in sorted(errors):
            raise SinkRefused(envelopes[number].id, errors[number].str())

    def _give_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge(in_flight=True, blocking=False)
            producer.flush(0)


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return str(first.str() if hasattr(first, "str") else first)
