"""What can be archived: a kind of rows, for how long they are kept, and which may go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from common.operational.current import settings_now


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveKind:
    """A kind of rows. Each app describes those of its own tables, in its `retention.py`.

    name: of the folder and in commands. what: for people. setting: the days, in `retention`.
    times: columns of which the first that is set is a row's time, machine time; ids have to rise
    with it. removable: SQL, which rows `r` nothing needs any more; it may use %(cutoff)s.
    remove: SQL that deletes the rows with the ids %(ids)s that the file %(file)s has, and returns
    how many as `removed`. locks_rows: whether rows could change while they are archived. filters:
    columns for the filters of `manage.py read_archive`. with_it: what else goes into the file with
    a row, from other tables: SQL in brackets of a jsonb by its name, all its values being texts.
    """

    name: str
    what: str
    setting: str
    table: str
    times: tuple[str, ...]
    removable: str = "true"
    remove: str = ""
    locks_rows: bool = True
    filters: Mapping[str, str] = field(default_factory=dict)
    with_it: Mapping[str, str] = field(default_factory=dict)

    @property
    def time_sql(self) -> str:
        """SQL of the time of a row `r`."""
        return f"coalesce({', '.join(f'r.{name}' for name in self.times)})"

    @property
    def remove_sql(self) -> str:
        """SQL that deletes rows."""
        return self.remove or (
            f"WITH gone AS (DELETE FROM {self.table} WHERE id = ANY(%(ids)s::bigint[])"
            " AND %(file)s::bigint IS NOT NULL RETURNING 1)"
            " SELECT count(*) AS removed FROM gone"
        )

    @property
    def kept_for(self) -> timedelta | None:
        """For how long a row stays in the database; None: for ever."""
        days = getattr(settings_now().retention, self.setting)
        return None if days is None else timedelta(days=days)
