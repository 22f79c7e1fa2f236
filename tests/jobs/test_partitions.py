"""One partition or many: the same orders, the same account, the same scores."""

import random
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import OrdersError
from repurchase.i18n.messages import render
from repurchase.jobs.order_intake import Intake, load_orders
from repurchase.settings import Settings


def texts(messages):
    return [render(one, locale="en") for one in messages]


LINES = {"amount": "Amount"}
"""Money of lines; the few prices of the messy log leave that open."""


def messy_rows(*, customers: int = 60, rows: int = 900, seed: int = 0) -> list[dict[str, str]]:
    """An export with most faults that cleaning knows, in text: decimal commas, dates day first, rows twice."""
    chance = random.Random(seed)
    made = []
    for number in range(rows):
        day, month = chance.randint(1, 28), chance.randint(1, 12)
        amount = chance.choice(["12,50", "7,00", "1.234,56", "99,95", "-12,50", "", "free", "0,00"])
        row = {
            "Customer ID": chance.choice([f"K{chance.randint(1, customers):03d}", f"{chance.randint(1, 9)}.0", "nan"]),
            "Order ID": f"{chance.choice('AC')}{number // 2}",
            "Product ID": f"p{chance.randint(1, 4)}",
            "Order date": chance.choice([f"{day}/{month}/2024 10:30", f"{day}/{month}/2024", "soon"]),
            "Amount": amount,
            "Quantity": str(chance.choice([1, 2, -1])),
        }
        made.append(row)
        if chance.random() < 0.1:
            made.append(row)
    chance.shuffle(made)
    return made


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("messy") / "orders.csv"
    pl.DataFrame(messy_rows()).write_csv(file, separator=";")
    return file


def intake(file: Path, folder: Path, *, partitions: int, columns: dict[str, str] | None = None) -> Intake:
    settings = Settings(partitions=partitions, columns=columns or {})
    return load_orders(file.as_posix(), settings=settings, folder=folder / str(partitions))


@pytest.mark.parametrize("partitions", [2, 7, 40])
def test_partitions_change_nothing(messy: Path, tmp_path: Path, partitions: int) -> None:
    one, many = (intake(messy, tmp_path, partitions=count, columns=LINES) for count in (1, partitions))

    assert len(one.ledgers) == 1
    assert 1 < len(many.ledgers) <= partitions
    assert many.report == one.report
    assert many.cleaning.counts == one.cleaning.counts
    assert many.as_of == one.as_of
    assert many.ledgers.whole().ids.equals(one.ledgers[0].ids)
    assert many.ledgers.whole().entries.equals(one.ledgers[0].entries)
    aside = [taken.set_aside.collect() for taken in (one, many)]
    assert aside[0].sort(pl.all()).equals(aside[1].sort(pl.all()))


def test_the_messy_log_has_what_it_should(messy: Path, tmp_path: Path) -> None:
    taken = intake(messy, tmp_path, partitions=1, columns=LINES)

    reasons = {reason.reason for reason in taken.report.reasons if reason.rows}
    assert {"missing_customer", "unreadable_date", "amount_not_a_number", "duplicate_line", "return"} <= reasons
    assert any("comma is the decimal mark" in note for note in texts(taken.report.notes))
    assert any("day first" in note for note in texts(taken.report.notes))


def test_customers_rise_from_one_partition_to_the_next(messy: Path, tmp_path: Path) -> None:
    taken = intake(messy, tmp_path, partitions=5, columns=LINES)

    ids = pl.concat([ledger.ids for ledger in taken.ledgers])
    assert ids.to_list() == sorted(set(ids.to_list()))


def test_what_decides_may_stand_in_one_partition_alone(tmp_path: Path) -> None:
    # Only customer z has days above 12 and a decimal comma; every other partition must read by them.
    rows = [{"customer_id": f"a{n}", "order_date": "03/04/2024", "amount": "1.234"} for n in range(50)]
    rows += [{"customer_id": "z", "order_date": f"{day}/12/2024", "amount": "7,50"} for day in (29, 30, 31)]
    file = tmp_path / "orders.csv"
    pl.DataFrame(rows).write_csv(file)

    taken = intake(file, tmp_path, partitions=4)

    entries = taken.ledgers[0].entries
    assert entries["spend"].unique().to_list() == [1234 * 10_000]
    assert taken.report.first_day is not None
    assert taken.report.first_day.isoformat() == "2024-04-03"


def test_a_log_without_money_has_none_in_any_partition(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    rows = [{"customer_id": f"a{n % 9}", "order_date": f"2024-01-{n + 1:02d}", "amount": ""} for n in range(20)]
    pl.DataFrame(rows).write_csv(file)

    taken = intake(file, tmp_path, partitions=3)

    assert [ledger.has_amounts for ledger in taken.ledgers] == [False] * len(taken.ledgers)


def test_refusals_count_all_partitions(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    rows = [{"customer_id": f"a{n}", "order_date": "soon", "amount": "5"} for n in range(20)]
    pl.DataFrame(rows).write_csv(file)

    said = []
    for partitions in (1, 4):
        with pytest.raises(OrdersError) as caught:
            intake(file, tmp_path, partitions=partitions)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "20 of 20 dates" in said[0]


def test_an_order_whose_later_lines_name_no_customer_is_not_split(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    names = ["Name", "Email", "Created at", "Total", "Subtotal", "Lineitem name", "Lineitem quantity", "Lineitem price"]
    first = ["#1", "a@x.no", "2024-01-01 10:00:00 +0100", "30.00", "30.00", "soap", "1", "10.00"]
    later = ["#1", "", "", "", "", "oil", "1", "20.00"]
    other = ["#2", "b@x.no", "2024-01-02 10:00:00 +0100", "5.00", "5.00", "soap", "1", "5.00"]
    file.write_text("\n".join(",".join(row) for row in (names, first, later, other)) + "\n", encoding="utf-8")

    taken = intake(file, tmp_path, partitions=4)

    assert len(taken.ledgers) == 1
    assert taken.ledgers[0].entries["spend"].to_list() == [300_000, 50_000]
