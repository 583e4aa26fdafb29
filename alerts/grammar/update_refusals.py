"""What to write instead of an instruction about an open trade that is not read. Pure."""

import re

from alerts.grammar.reading import ambiguous, excerpt, not_understood
from alerts.grammar.shares import unclear_close
from common.errors import InvalidInputError

WRITE = (
    "Write it like “EURUSD close half”, “EURUSD SL to BE”, “EURUSD move SL to 1.0870”, “cancel "
    "EURUSD” or “close all EURUSD trades”."
)
SL = r"(?:sl|s/l|stop|stop loss|stoploss)"
TP = r"(?:tp|t/p|take profit|target)"
MOVE = r"(?:move|set|put|shift|bring|change|adjust|modify|raise|lower|tighten)"
NUM = r"(?P<number>[0-9]+(?:[.,][0-9]+)*)"
_REMOVAL = re.compile(rf"(?:cancel|delete|remove|drop|no) (?:{SL}|{TP})(?: order)?")
_OFFSET = re.compile(r"\b(?:be|b/e|break[ -]?even|entry(?: price| level)?) \+")
_UNSUPPORTED = (
    (r"\btrail", "A text sets no trailing stop.", "Send JSON with trailing_distance."),
    (
        rf"^(?:{MOVE}|go) .*\bentry\b", "A text does not move an entry that waits.",
        "Cancel it and send a new one, or send JSON with action MODIFY and open_price.",
    ),
    (
        r"^(?:cancel|delete) (?:all|everything)", "A text cancels one entry.",
        "Name its symbol: “cancel EURUSD”.",
    ),
    (
        r"#[0-9]|\b(?:signal|trade|order|id) [0-9]+\b", "Updates know no number of a signal.",
        "Answer the signal's message, or name its symbol: “EURUSD close half”.",
    ),
    (
        r"^(?:tp|target) ?[1-9]? ?(?:hit|reached|done) (?:close|exit|take|book|reduce)\b",
        "It has a report and an instruction without a mark between them.",
        "Write the instruction alone: “EURUSD close half”.",
    ),
    (
        r"^(?:close|exit) (?:remaining|rest|other|last|first|second)\b",
        "Which part that is depends on what each account still has.",
        "Write “close” for all that is open, or “close half” for a share of it.",
    ),
    (
        rf"^(?:{MOVE} (?:your |the |my |new )?|new )(?:tp|target) ?[1-9] ",
        "A text changes no single one of several targets.",
        "Send JSON with action MODIFY and all targets.",
    ),
    (
        rf"\b{SL} (?:to|at) (?:tp|target) ?[1-9]\b", "A target is no price of a stop.",
        "Write the price itself: “move SL to 1.0870”.",
    ),
    (
        r"\b(?:moved|changed|raised|lowered|closed|cancelled|canceled|deleted)\b",
        "It can report what was done.",
        "Write what is to be done: “move SL to 1.0870”, “SL to BE”, “close half”.",
    ),
    (
        r"\b(?:except|but|besides|other than)\b", "A close with an exception is not read.",
        "Name each symbol that is closed, in a message of its own.",
    ),
)  # fmt: skip


def unread_instruction(clause: str) -> InvalidInputError:
    """Return the error for an instruction that is not read, with its readings if it has some."""
    if _REMOVAL.fullmatch(clause):
        return ambiguous(
            excerpt(clause), "take a level off the open trade", "end an entry that waits",
            field="action",
            write="A trade keeps its stop: write “move SL to …”, or “cancel EURUSD”.",
        )  # fmt: skip
    if offset := _OFFSET.search(clause):
        return not_understood(
            f"{excerpt(offset[0])} is a price beside the entry.",
            "Write the price itself: “move SL to 1.0855”.", field="sl",
        )  # fmt: skip
    for words, detail, write in _UNSUPPORTED:
        if re.search(words, clause):
            return not_understood(detail, write)
    if error := unclear_close(clause):
        return error
    if "partial" in clause:
        return not_understood(
            "A partial close has no share.", "Write “close half” or “close 30%”.",
            field="close_fraction",
        )  # fmt: skip
    if re.fullmatch(rf"{SL} {NUM}", clause):
        return ambiguous(
            excerpt(clause), "move the stop of the open trade", "a part of an entry without a side",
            field="sl", write="Write “move SL to …” for the one.",
        )  # fmt: skip
    return not_understood(f"{excerpt(clause)} is no instruction that is read.", WRITE)
