"""One error of an input."""

from dataclasses import dataclass

from common.reason_codes import Code


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error in an input: the code, the field, and a sentence about this case."""

    code: Code
    field: str
    detail: str

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.code.hint

    def as_dict(self) -> dict[str, str]:
        """Return the error as every entry point shows it."""
        return {"code": self.code, "field": self.field, "detail": self.detail, "hint": self.hint}
