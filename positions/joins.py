"""Parts of other apps' SQL statements: what they join of positions, as `p`."""


def position_join_sql(position_id: str) -> str:
    """Return SQL that joins the position with this id, an expression."""
    return f"JOIN positions_executionposition p ON p.id = {position_id}"


def entry_position_join_sql(entry: str) -> str:
    """Return SQL that joins the position that an entry has opened. entry: alias of its order."""
    return (
        f"JOIN positions_executionposition p ON p.connection_id = {entry}.connection_id"
        f" AND p.signal_id = {entry}.signal_id"
    )
