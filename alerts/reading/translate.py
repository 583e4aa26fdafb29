"""Find the dialect of an alert, and read it. Pure."""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from alerts.forms import commands, objects, sentence
from alerts.forms.envelopes import from_form, message_of
from alerts.grammar import text_entry, updates
from alerts.grammar.characters import readable
from alerts.grammar.decoration import trend_of, without_signature
from alerts.grammar.lexicon import Kind, Token
from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import SIZING, Dialect, Note, Reading, refusal
from alerts.grammar.text_entry import with_doubt
from alerts.grammar.tokens import concepts
from alerts.grammar.words import foreign_word, refuse_options, refuse_unclear_words
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.reading import strict_json

_TIME = re.compile(
    r"\s[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?Z\s*$", re.ASCII
)

_LEAST_OF_ENTRY = 2


def translate(body: bytes, mapping: AlertMapping) -> Reading:
    """Return an alert in our own fields, whatever dialect it is written in.

    Raises InvalidInputError: BODY_NOT_JSON, ALERT_NOT_UNDERSTOOD, ALERT_AMBIGUOUS and those of its
    fields. Each names what to write instead.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    start = body.lstrip()[:1]
    if not start or _is_json(body.lstrip()) or len(body) > strict_json.MAX_BYTES:
        parsed = strict_json.parse(body)
        if not isinstance(parsed, Mapping):
            raise refusal("no_object")
        if not mapping.paths and (message := message_of(parsed)):
            text, notes = message
            reading = _read_text(text, mapping)
            return replace(reading, notes=(*reading.notes, *notes))
        return objects.read_object(parsed, mapping)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal("not_utf8", start=error.start) from error
    return _read_text(from_form(text), mapping)


def _is_json(body: bytes) -> bool:
    """Whether a body is meant as JSON. “[H4] BUY EURUSD” is a text."""
    if body[:2] == b"{{":
        return False  # a placeholder
    if body[:1] == b"{" or (body[:1] == b"[" and body[1:].lstrip()[:1] in b'{["]'):
        return True
    if body[:1] not in (b"[", b'"'):
        return False
    try:
        strict_json.parse(body)
    except InvalidInputError as error:
        return error.code != Code.BODY_NOT_JSON
    return True


def _read_text(text: str, mapping: AlertMapping) -> Reading:
    plain = readable(_with_mapped_words(_without_ignored(text, mapping), mapping)).strip()
    if not plain:
        raise refusal("no_words")
    if sentence.is_sentence(plain):
        return sentence.read_sentence(plain, mapping)
    if commands.is_comma_command(plain):
        return commands.read_comma_command(plain, mapping)
    if commands.is_command_block(plain):
        return commands.read_command_block(plain, mapping)
    if commands.is_key_value(plain):
        return commands.read_key_value(plain, mapping)
    signal, notes = without_signature(plain)
    reading = _read_words(signal, mapping, trend_of(text), notes)
    sizes = [note.text for note in notes if note.reason == SIZING]
    if sizes and reading.dialect is Dialect.TEXT_UPDATE:
        raise refusal("size_beside_instruction", size=sizes[0])
    return replace(reading, notes=(*reading.notes, *notes))


def _read_words(plain: str, mapping: AlertMapping, trend: str, notes: Sequence[Note]) -> Reading:
    """Read an entry or an update in words."""
    time = _TIME.search(plain)
    tokens = concepts(plain[: time.start()] if time else plain, mapping)
    sent_at = time[0].strip() if time else ""
    refuse_options(tokens)
    refuse_unclear_words(tokens)
    if updates.is_update(tokens):
        return _read_update(tokens, sent_at)
    if not any(token.kind in (Kind.BUY, Kind.SELL, Kind.SYMBOL) for token in tokens):
        for token in tokens:
            if error := foreign_word(token.text):
                raise error
        kinds = {token.kind for token in tokens}
        is_report = any(token.text.lower() in ("hit", "reached", "done") for token in tokens)
        if Kind.NUMBER in kinds and kinds & {Kind.SL, Kind.TP} and not is_report:
            raise refusal("levels_without_side")
        raise refusal("no_signal")
    reading = text_entry.read_entry(tokens, mapping, trend, sent_at)
    return with_doubt(reading, tokens, notes)


def _read_update(tokens: list[Token], sent_at: str) -> Reading:
    """Read an update. Raises InvalidInputError, for one beside an entry with what to do."""
    try:
        return updates.read_update(tokens, sent_at)
    except InvalidInputError as error:
        if error.code != Code.ALERT_NOT_UNDERSTOOD or not _has_entry(tokens):
            raise
        raise refusal("entry_and_instruction") from error


def _has_entry(tokens: list[Token]) -> bool:
    """Whether a text has a side, a number and two of a price, a stop and targets."""
    kinds = {Kind.SL if token.kind is Kind.STOP else token.kind for token in tokens}
    has_price = Kind.ENTRY in kinds or any(token.text == "@" for token in tokens)
    has_numbers = Kind.NUMBER in kinds and bool({Kind.BUY, Kind.SELL} & kinds)
    return has_numbers and has_price + (Kind.SL in kinds) + (Kind.TP in kinds) >= _LEAST_OF_ENTRY


def _with_mapped_words(text: str, mapping: AlertMapping) -> str:
    """Return a text with the mapping's words of other alphabets in ours, where they are whole."""
    sides = {word: str(side) for word, side in mapping.sides.items() if side in ("BUY", "SELL")}
    for word, meaning in (sides | dict(mapping.symbols)).items():
        if not word.isascii():
            whole = rf"(?<!\w){re.escape(word)}(?!\w)"
            text = re.sub(whole, f" {meaning} ", text, flags=re.IGNORECASE)
    return text


def _without_ignored(text: str, mapping: AlertMapping) -> str:
    """Return a text without the phrases that the feed's mapping ignores, where they are whole."""
    for phrase in mapping.ignore:
        text = re.sub(rf"(?<![\w]){re.escape(phrase)}(?![\w])", "\n", text, flags=re.IGNORECASE)
    return text
