"""SQL that searches rows by a price which the planner does not know."""

_OTHER_END = {">=": "<= 'Infinity'", "<=": ">= '-Infinity'"}


def reached_sql(query: str, column: str, comparison: str, price: str) -> str:
    """Return SQL, for a LATERAL, of the rows of a query whose column is at or beyond a price.

    query: a SELECT with conditions; the columns that it compares for equality and then this column
    have an index. comparison: `>=` or `<=`.

    Whatever its statistics say, the planner should search that index, once for each price (OFFSET 0
    keeps the query apart). Of a price that it does not know it expects that a third of all rows are
    beyond it, and reads all of them by an index in the order of the table, such as that of the
    signal after a signal to many accounts; of a range with two ends it expects one in two hundred.
    Where it believes that there are no rows at all, the order decides, which only this index has.

    >>> reached_sql("SELECT id FROM t WHERE pair = q.pair", "sl", ">=", "q.bid")
    "SELECT id FROM t WHERE pair = q.pair AND sl >= q.bid AND sl <= 'Infinity' ORDER BY sl OFFSET 0"
    """
    return (
        f"{query} AND {column} {comparison} {price} AND {column} {_OTHER_END[comparison]}"
        f" ORDER BY {column} OFFSET 0"
    )
