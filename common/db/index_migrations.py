"""Indexes of large tables in migrations: built while rows are written, and again if need be."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

VALIDITY = """
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(format('public.%%I', %s::text))
"""


class BuildIndex(AddIndexConcurrently):
    """Builds an index concurrently; a migration that was interrupted can be run again.

    What is built without a transaction stays when a later step fails, and is invalid if the build
    itself failed. So an index of this name that is complete is kept; an invalid one is built again.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """Build the index unless it is there and valid."""
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(VALIDITY, [self.index.name])
            found = cursor.fetchone()
        if found and found[0]:
            return
        if found:
            name = schema_editor.quote_name(self.index.name)
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        super().database_forwards(app_label, schema_editor, from_state, to_state)
