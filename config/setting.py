"""What one setting is, and how it is read from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from config.kinds import Kind

T = TypeVar("T")
ENV_NAME = "FILLCAST_ENV"


class EnvironmentFault(Exception):
    """Settings that are missing or malformed; its text has a sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n  ".join(["Fillcast cannot start with these settings:", *faults]))


@dataclass(frozen=True, slots=True, eq=False)
class Setting(Generic[T]):
    """One setting. `default` is a text as it would stand in the environment, read by `kind`."""

    section: str
    name: str
    kind: Kind[T]
    default: str
    sentence: str
    required: bool  # in production; development has the default or makes its own
    secret: bool  # its value is never shown, not even in an error

    def read(self, environ: Mapping[str, str], *, production: bool) -> T:
        """Return the value. Raises ValueError with a sentence that names the variable."""
        found = environ.get(self.name, "").strip()
        if not found and self.required and production:
            wanted = self.kind.expected.split(", or nothing")[0]
            raise ValueError(f"{self.name} is not set; production needs {wanted}. {self.sentence}")
        try:
            return self.kind.read(found or self.default)
        except ValueError:
            shown = f"a text of {len(found)} characters (not shown)" if self.secret else repr(found)
            raise ValueError(f"{self.name} is {shown}; expected {self.kind.expected}.") from None


class Table:
    """All settings in the order in which they are declared."""

    def __init__(self) -> None:
        self.settings: list[Setting[Any]] = []

    def section(self, title: str) -> "Section":
        """Return a maker of settings that stand under `title`."""
        return Section(self, title)

    def read(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """Return every setting's value by name. Raises EnvironmentFault with all faults."""
        faults: list[str] = []
        values: dict[str, Any] = {}
        production = environ.get(ENV_NAME, "").strip() == "production"
        for setting in self.settings:
            try:
                values[setting.name] = setting.read(environ, production=production)
            except ValueError as e:
                faults.append(str(e))
        if faults:
            raise EnvironmentFault(faults)
        return values


@dataclass(frozen=True, slots=True)
class Section:
    """Declares settings under one title."""

    table: Table
    title: str

    def __call__(
        self,
        name: str,
        kind: Kind[T],
        default: str,
        sentence: str,
        *,
        required: bool = False,
        secret: bool = False,
    ) -> Setting[T]:
        """Declare a setting; see Setting for the arguments."""
        setting = Setting(self.title, name, kind, default, sentence, required, secret)
        self.table.settings.append(setting)
        return setting
