"""Rules for SQL in migrations. Pure: text in, faults out."""

import re
from collections.abc import Iterable, Mapping

import sqlparse

from ops.upgrades.faults import DROP_LATER, Fault


def _pattern(text: str) -> "re.Pattern[str]":
    return re.compile(text, re.IGNORECASE)


_NAME = r'(?:IF (?:NOT )?EXISTS )?(?:ONLY )?(?:public\.)?"?(\w+)"?'
_ALTER_TABLE = _pattern(rf"ALTER TABLE {_NAME} (.+)")
_CREATE_TABLE = _pattern(rf"CREATE (?:UNLOGGED )?TABLE {_NAME}")
_DROP_TABLE = _pattern(rf"DROP TABLE {_NAME}")
_INDEX = _pattern(r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).*?\bON (?:ONLY )?\"?(\w+)\"?")
_ROWS = _pattern(rf"(?:WITH .+? )?(UPDATE|DELETE FROM|TRUNCATE(?: TABLE)?|LOCK TABLE) {_NAME}")
_DROPPED_THING = _pattern(
    r"DROP (FUNCTION|VIEW|MATERIALIZED VIEW|TYPE|SEQUENCE|DOMAIN|SCHEMA|ROLE) "
)
_REVOKE = _pattern(r"REVOKE .*? ON (?:FUNCTION |SEQUENCE |TABLE )?(?:public\.)?\"?(\w+)\"?")
_CREATE_FUNCTION = _pattern(r"CREATE (?:OR REPLACE )?FUNCTION (?:public\.)?\"?(\w+)\"?")
_UNREADABLE = _pattern(r"DO\b")
_REWRITES = _pattern(r"CLUSTER\b|VACUUM FULL|REINDEX (?!.*CONCURRENTLY)|REFRESH MATERIALIZED")
# Within ALTER TABLE; the last ones with their sentence.
_DROP_COLUMN = _pattern(r'DROP (?:COLUMN )?(?:IF EXISTS )?"?(\w+)"?')
_ADD_COLUMN = _pattern(r"ADD (?:COLUMN )?(?!CONSTRAINT|CHECK|UNIQUE|FOREIGN|EXCLUDE|PRIMARY)")
_WAITING = (
    (r"ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b", "changes a type: rows may be rewritten"),
    (r"SET NOT NULL", "refuses what the released code may write, after reading all rows"),
    (r"DROP DEFAULT", "the released code may rely on the default"),
    (r"ADD (?:CONSTRAINT|CHECK|UNIQUE|FOREIGN|EXCLUDE|PRIMARY)(?!.*(?:NOT VALID|USING INDEX))",
     "reads all rows while writers wait, and may refuse what the released code writes: add it"
     " NOT VALID, and validate it in a migration of its own"),
    (r"DROP CONSTRAINT", "the released code may name it in ON CONFLICT"),
    (r"ENABLE ROW LEVEL|FORCE ROW LEVEL", "the released code may not see its rows any more"),
)  # fmt: skip


def statement_faults(
    sql: "str | Iterable[object]",
    columns: "Mapping[str, frozenset[str]]",
    new_tables: "frozenset[str]" = frozenset(),
) -> "list[Fault]":
    """Return what is wrong with the SQL of a RunSQL.

    columns: those of each released table. new_tables: no released code uses them, nor what the
    same text creates.
    """
    statements = [_normal(text) for part in _texts(sql) for text in sqlparse.split(part)]
    new = set(new_tables)
    for pattern in (_CREATE_TABLE, _CREATE_FUNCTION):
        new |= {match[1] for text in statements if (match := pattern.match(text))}
    return [
        fault for text in statements if text for fault in _faults_of(text, columns, frozenset(new))
    ]


def _texts(sql: "str | Iterable[object]") -> "list[str]":
    if isinstance(sql, str):
        return [sql]
    return [str(part[0]) if isinstance(part, list | tuple) else str(part) for part in sql]


def _normal(statement: str) -> str:
    """Return a statement on one line, without comments and the bodies of functions."""
    text = re.sub(r"--[^\n]*|/\*.*?\*/", " ", statement, flags=re.DOTALL)
    text = re.sub(r"\$(\w*)\$.*?\$\1\$", "$$", text, flags=re.DOTALL)
    text = re.sub(r"'(?:[^']|'')*'", "''", text)
    return re.sub(r"\s+", " ", text).strip(" ;")


def _faults_of(
    text: str, columns: "Mapping[str, frozenset[str]]", new: "frozenset[str]"
) -> "list[Fault]":
    """Return the faults of one statement. The key is its beginning."""

    key = " ".join(text.split()[:4])

    def fault(sentence: str, table: str = "") -> "list[Fault]":
        return [] if table in new else [Fault(key, sentence)]

    if match := _ALTER_TABLE.match(text):
        return [] if match[1] in new else _alter_faults(match[1], match[2], columns, key)
    if match := _DROP_TABLE.match(text):
        sentence = f"the released models have {match[1]}; {DROP_LATER}"
        return [Fault(key, sentence, breaks=True)] if match[1] in columns else []
    if match := _INDEX.match(text):
        return fault("writers wait while the index is built: use BuildIndex", match[1])
    if match := _ROWS.match(text):
        return fault(
            "changes or locks rows while the released code writes them: state why its rows are"
            " right afterwards, and how long it takes", match[2],
        )  # fmt: skip
    if match := _DROPPED_THING.match(text):
        return fault(f"the released code may use the {match[1].lower()}")
    if match := _REVOKE.match(text):
        of_new = any(match[1].startswith(f"{name}_") for name in new)  # its sequence
        return [] if of_new else fault("the released code may need the right", match[1])
    if _UNREADABLE.match(text):
        return fault("a DO block cannot be checked: state what it changes for the released code")
    if _REWRITES.match(text):
        return fault("everybody waits while it rewrites the table")
    return []


def _alter_faults(
    table: str, rest: str, columns: "Mapping[str, frozenset[str]]", key: str
) -> "list[Fault]":
    released = columns.get(table, frozenset())
    if re.search(r"\bRENAME\b", rest, re.IGNORECASE):
        breaks = table in columns
        return [Fault(key, "the released code uses the old name: add, write both, drop", breaks)]
    faults = []
    for action in re.split(r",(?![^(]*\))\s*", rest):
        if match := _DROP_COLUMN.match(action):
            name = match[1].lower()
            if name in released:
                sentence = f"the released models have {table}.{name}; {DROP_LATER}"
                faults.append(Fault(key, sentence, breaks=True))
            if name != "constraint":
                continue
        if _ADD_COLUMN.match(action):
            if "NOT NULL" in action.upper() and "DEFAULT" not in action.upper():
                faults.append(Fault(key, NEEDS_DEFAULT, breaks=True))
            continue
        faults += [
            Fault(key, why)
            for pattern, why in _WAITING
            if re.search(pattern, action, re.IGNORECASE)
        ]
    return faults


NEEDS_DEFAULT = (
    "INSERTs of the released code do not name the column: it needs null=True or a db_default"
    " (Django's `default` is not in the database)"
)
