"""Values of rows are in a message for whoever runs the command, and not in its log, unless that is asked for."""

import json

import pytest

DAYS = [f"2024-{month:02d}-{day:02d}" for month in range(1, 13) for day in (3, 17)]


def table(**columns):
    names = list(columns)
    rows = [",".join(values) for values in zip(*columns.values(), strict=True)]
    return "\n".join([",".join(names), *rows]) + "\n"


N = len(DAYS)
IDS, AMOUNTS = [f"c{n % 7:04d}" for n in range(N)], [f"{n + 1}.50" for n in range(N)]
CASES = {
    "dates": (table(customer_id=IDS, order_date=["ZQ7day"] * N, amount=AMOUNTS), (), "ZQ7day"),
    "named amounts": (
        table(customer_id=IDS, order_date=DAYS, amount=["ZQ7money"] * N),
        ("--columns", "amount=amount"),
        "ZQ7money",
    ),
    "ambiguous dates": (
        table(customer_id=IDS, order_date=["03/04/2024", "05/06/2024"] * (N // 2), amount=AMOUNTS),
        (),
        "03/04",
    ),
    "currencies": (
        table(customer_id=IDS, order_date=DAYS, amount=AMOUNTS, currency=["NOK", "SEK"] * (N // 2)),
        (),
        "SEK",
    ),
    "broken": (table(customer_id=IDS, order_date=DAYS, amount=AMOUNTS) + "ZQ7id,", (), "ZQ7id"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_value_is_told_and_not_logged(repurchase, tmp_path, case):
    content, options, value = CASES[case]
    (tmp_path / "orders.csv").write_text(content)
    words = ("check", tmp_path / "orders.csv", "--home", tmp_path, *options)

    text = repurchase(*words)
    log = repurchase(*words, "--log-format", "json")
    asked = repurchase(*words, "--log-format", "json", "--log-values")

    assert text.code == log.code == asked.code == 2
    assert value in text.err
    assert value not in log.err
    assert "…" in log.err
    assert value in asked.err
    assert all(json.loads(line) for line in log.err.splitlines())
