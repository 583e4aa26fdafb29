"""FILLCAST_REHEARSAL: what replays and tests need and production refuses, as `name=value` parts.

clock: starts market time elsewhere (common/clocks.py). failpoints: points at which this process
dies or stops (common/failpoints.py). Parts are separated by a blank.
"""

VARIABLE = "FILLCAST_REHEARSAL"
PARTS = frozenset({"clock", "failpoints"})


def parts_of(text: str) -> dict[str, str]:
    """Return the parts that have a value. Raises ValueError for one that is unknown or repeated."""
    found: dict[str, str] = {}
    for part in text.split():
        name, sign, value = part.partition("=")
        if not sign or name not in PARTS or name in found:
            raise ValueError(part)
        found[name] = value
    return {name: value for name, value in found.items() if value}
