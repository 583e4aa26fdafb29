"""The terminal of this worker, as the operator names it: FILLCAST_MT5_TERMINAL.

`alpha=C:\\mt5\\alpha\\terminal64.exe /portable`: its name in connections, its program, and whether
it keeps its data beside that (the terminal's own option).
"""

import re
from dataclasses import dataclass

VARIABLE = "FILLCAST_MT5_TERMINAL"
MAIN = "main"  # the terminal of an installation that has only one
_SPEC = re.compile(
    r"(?:([a-z0-9][a-z0-9_-]{0,31})=)?((?:[A-Za-z]:|/).*?)??( +/portable)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class TerminalEndpoint:
    """This process's terminal. path: its terminal64.exe; name: its name in the connections'
    settings."""

    path: str = ""
    portable: bool = False
    name: str = MAIN

    def __str__(self) -> str:
        return f"{self.name}={self.path}{' /portable' if self.portable else ''}"


def read_terminal(text: str) -> TerminalEndpoint:
    """Read NAME=PATH. Without a name it is `main`; without a path the package finds one terminal.

    Raises ValueError if it is neither.
    """
    found = _SPEC.fullmatch(text.strip())
    if found is None or found[2] == "/portable" or not (found[1] or found[2]):
        raise ValueError(text)
    return TerminalEndpoint(found[2] or "", bool(found[3]), found[1] or MAIN)
