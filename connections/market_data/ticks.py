"""SQL for what an account's broker lists: ticks, the smallest steps of a price, and lots."""

TICK_SQL = "coalesce(nullif(i.tick, 0), trim_scale(1 / power(10::numeric, i.digits)))"
"""The tick of an instrument `i`."""


def tick_at_sql(price: str) -> str:
    """Return SQL for the tick of an instrument `i` at a price, an expression that may be NULL."""
    return f"""CASE WHEN i.price_steps IS NULL THEN {TICK_SQL} ELSE coalesce((
        SELECT (s.value ->> 1)::numeric FROM jsonb_array_elements(i.price_steps) s
        WHERE (s.value ->> 0)::numeric <= {price}
        ORDER BY (s.value ->> 0)::numeric DESC LIMIT 1), {TICK_SQL}) END"""


def _of_instrument_sql(row: str, expression: str) -> str:
    """Return SQL for an expression over the instrument `i` of a row; NULL where none is listed."""
    return f"""(SELECT {expression} FROM connections_executionconnection of_row
      JOIN connections_instrument i ON i.book = of_row.instrument_book AND i.symbol = {row}.symbol
      WHERE of_row.id = {row}.connection_id)"""


def tick_sql(row: str) -> str:
    """Return SQL for the tick of a row's instrument; NULL where the broker lists none.

    row: alias of a position or an order, with `connection_id` and `symbol`.
    """
    return _of_instrument_sql(row, TICK_SQL)


def stops_level_sql(row: str) -> str:
    """Return SQL for the least distance of a stop from the price; NULL where none is listed.

    row: as in `tick_sql`.
    """
    return _of_instrument_sql(row, "i.stops_level")


def freeze_level_sql(row: str) -> str:
    """Return SQL for the distance from the price within which the broker changes nothing.

    row: as in `tick_sql`. NULL where the instrument is not listed.
    """
    return _of_instrument_sql(row, "i.freeze_level")


def on_tick_sql(price: str, row: str) -> str:
    """Return SQL for a level of a row, rounded to whole ticks: up for BUY, down for SELL.

    The same as `brokers.price_rounding.round_level_price`, so that our row and the broker hold the
    same price. row: as in `tick_sql`, with `side`.
    """
    return f"""(SELECT {rounded_to_tick_sql("level.price", "step.size", f"{row}.side")}
      FROM (SELECT {price} AS price) level
      CROSS JOIN LATERAL (SELECT {_of_instrument_sql(row, tick_at_sql("level.price"))} AS size
        OFFSET 0) step)"""  # OFFSET 0: looked up once


def rounded_to_tick_sql(price: str, tick: str, side: str) -> str:
    """Return SQL for a level, rounded as by `on_tick_sql`. All are expressions; tick may be NULL.

    For several levels of a row, whose tick is looked up once.
    """
    return f"""CASE
        WHEN {tick} IS NULL OR mod({price}, {tick}) = 0 THEN {price}
        WHEN {side} = 'BUY' THEN ceil({price} / {tick}) * {tick}
        ELSE floor({price} / {tick}) * {tick} END"""


def ticks_join_sql(row: str, **prices: str) -> str:
    """Return a LEFT JOIN of `step`, which has the tick of a row's instrument at each of these
    prices under their names. Looked up once; row: as in `tick_sql`."""
    ticks = ", ".join(f"{tick_at_sql(price)} AS {name}" for name, price in prices.items())
    return f"""LEFT JOIN LATERAL (SELECT {ticks} FROM connections_executionconnection of_row
      JOIN connections_instrument i ON i.book = of_row.instrument_book AND i.symbol = {row}.symbol
      WHERE of_row.id = {row}.connection_id OFFSET 0) step ON true"""


def quantity_step_sql(row: str) -> str:
    """Return SQL for the quantity step of a row's instrument; NULL where none is listed.

    row: as in `tick_sql`.
    """
    return _of_instrument_sql(row, "i.quantity_step")


def close_minimum_sql(entry_price: str) -> str:
    """Return SQL for the smallest exit that an instrument `i` takes, also by its value at this
    price, which is an expression. Base units."""
    return f"""greatest(i.quantity_min,
    ceil(i.close_worth_min / nullif({entry_price}, 0) / i.quantity_step) * i.quantity_step)"""


def smallest_close_sql(row: str) -> str:
    """Return SQL for the smallest quantity that a position's broker closes: the instrument's step,
    or its minimum at the entry price; almost nothing where none is listed.

    row: as in `tick_sql`, with `entry_price`.
    """
    smallest = f"greatest(i.quantity_step, {close_minimum_sql(f'{row}.entry_price')})"
    return f"coalesce({_of_instrument_sql(row, smallest)}, 1e-12)"


def contract_size_sql(book: str, pair: str) -> str:
    """Return SQL for the contract size of the instrument that a book prefers for a pair."""
    return f"""(SELECT i.contract_size FROM connections_instrument i
    WHERE i.book = {book} AND i.pair = {pair} AND i.is_preferred)"""


def listed_pairs_sql(book: str, most: int) -> str:
    """Return SQL for the array of the first pairs that a book lists, at most so many."""
    return f"""ARRAY(SELECT i.pair::text FROM connections_instrument i
    WHERE i.book = {book} AND i.is_preferred ORDER BY i.pair LIMIT {most})"""
