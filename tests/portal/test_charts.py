from datetime import date
from decimal import Decimal as D

from portal.charts import line

ZERO, LOSS = D(0), D(-1017)


def days(*points: tuple[date, D]) -> list[tuple[str, str]]:
    chart = line(points, description="")
    assert chart is not None
    return [(mark.at, mark.text) for mark in chart.days]


def test_line_of_two_days_labels_both() -> None:
    assert days((date(2014, 5, 1), ZERO), (date(2014, 5, 2), LOSS)) == [
        ("0%", "1 May"),
        ("100%", "2 May"),
    ]


def test_longer_line_labels_its_middle_too() -> None:
    assert days((date(2014, 5, 1), ZERO), (date(2014, 5, 5), LOSS)) == [
        ("0%", "1 May"),
        ("50%", "3 May"),
        ("100%", "5 May"),
    ]


def test_single_day_has_no_line() -> None:
    assert line([(date(2014, 5, 1), LOSS)], description="") is None
