#!/usr/bin/env python3
"""Refuse words that the glossary replaces, in names, texts and documents.

    deploy/vocabulary.py            list every use: file, line, word, what to write instead
    deploy/vocabulary.py FILE ...   only in these files

docs/glossary.md has our terms. A word is found inside identifiers too: `said_at`, `tellOwner`.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

INSTEAD = {
    "told|tell|tells|telling|untold": "report, notify, state, store",
    "said": "state, message, report",
    "heard|hear|hears": "receive",
    "wish|wishes|wished|wishing": "request, pending action",
    "faring|fares": "status",
    "nobody|somebody|anybody|whoever|whomever": "name the actor",
    "anew": "again",
    "risen": "unexpectedly live",
    "limbo": "unknown too long",
    "nonsense": "invalid",
    "errand|errands": "background call",
    "mailbox|mailboxes": "connection lock; inbox for e-mail",
    "naked": "unprotected",
    "unheld": "without a worker",
    "rung": "enqueued",
    "lately": "recently",
    "door|doors": "entry point, endpoint",
}
# Names of others, and what stays: the audit's counter keys are part of the contract.
KEPT = re.compile(
    r"\b(JOURNAL_)?(RISEN|LIMBO|NAKED)\b"
    r"|postgresql://nobody@|\"nobody\"|\.tell\(\)"  # a system user; a method of files
)
TEXTS = (
    ".py", ".sql", ".html", ".js", ".css", ".md", ".txt", ".sh", ".toml", ".yml", ".yaml",
    ".example", "Makefile",
)  # fmt: skip

WORDS = {word: instead for words, instead in INSTEAD.items() for word in words.split("|")}
FORBIDDEN = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})(?![a-z])", re.IGNORECASE)
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def main(names: list[str]) -> int:
    """Print what is to be reworded; return 1 if there is anything."""
    found = 0
    for path in map(Path, names) if names else _tracked():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for word in FORBIDDEN.findall(CAMEL.sub(" ", KEPT.sub("", line))):
                found += 1
                print(f"{path}:{number}: {word!r}: {WORDS[word.lower()]}")
    if found:
        print(f"{found} words to replace; docs/glossary.md has our terms")
    return bool(found)


def _tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        is_left_out = name.startswith(("requirements", "deploy/vocabulary.py"))
        if name.endswith(TEXTS) and not is_left_out:
            yield Path(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
