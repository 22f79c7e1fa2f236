"""What `check` prints about the columns: short, complete, and without a statement that has no words."""

import re
from datetime import date
from pathlib import Path

from repurchase.i18n.catalogues import load_catalogue
from repurchase.orders.checks import example_lines
from repurchase.orders.cleaning_report import CleaningCounts, CustomerExample
from repurchase.orders.layout import Fact, ReadingDecision, RoleDecision, log_line

SOURCES = Path(__file__).resolve().parents[2] / "src" / "repurchase" / "orders"


def test_every_statement_has_words_and_all_words_are_used() -> None:
    code = {path.name: path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py")}
    source = "\n".join(code.values())
    written = set(re.findall(r'Fact\(\s*"(\w+)"', source))
    start = "reading.fact."
    facts = {key.removeprefix(start) for key in load_catalogue("en").messages if key.startswith(start)}
    assert written <= facts
    assert {key for key in facts if f'"{key}"' not in source} <= {"type_other", "type_refund", "month_first"}


def test_a_role_is_a_line_and_its_details_stand_below() -> None:
    customer = RoleDecision(
        "customer_id",
        "Email",
        Fact("customer_email"),
        (Fact("by_name"),),
        (
            ("Name", Fact("lower_rank", {"column": "Email"})),
            ("Customer ID", Fact("placeholder", {"value": "0", "rows": 1234, "total": 5678})),
        ),
    )
    status = RoleDecision(
        "status",
        "State",
        Fact("status"),
        (Fact("named"), Fact("status_sale", {"statuses": [[f"status number {n}", 1000] for n in range(10)]})),
    )
    date_ = RoleDecision("order_date", "Day", Fact("dates"), (Fact("by_name"), Fact("day_first")))
    lines = ReadingDecision((customer, date_, status), (("Refund reason", Fact("unused_refund")),)).lines()
    assert lines == [
        "Customer  'Email': customers are identified by e-mail address",
        "          also considered: 'Name'",
        "          'Customer ID' was not used: '0' on 1,234 of 5,678 rows stands for no customer",
        "Date      'Day': day before month",
        "Status    'State': decides which orders are sales; named by you",
        "          sales (orders): status number 0 (1,000), status number 1 (1,000), status number 2 (1,000),",
        "            status number 3 (1,000), status number 4 (1,000), status number 5 (1,000), status number",
        "            6 (1,000), status number 7 (1,000), 2 more",
        "Not used  'Refund reason' may hold refunds",
    ]
    assert max(map(len, lines)) <= 100


def test_one_order_is_one_order() -> None:
    assert str(Fact("differs", {"share": 1.0, "orders": 1})).endswith("100% of 1 order with several lines")
    assert str(Fact("differs", {"share": 0.9996, "orders": 5000})).endswith("99.9% of 5,000 orders with several lines")


def test_a_log_names_columns_and_no_values() -> None:
    assert log_line(RoleDecision("currency", "Valuta", Fact("currency", {"currencies": "NOK"}))) == "Currency: 'Valuta'"
    assert log_line(RoleDecision("order_id", None, Fact("no_order_id"))).startswith("Order: no column with order")
    refused = (("Nr", Fact("placeholder", {"value": "anna@shop.no", "rows": 1, "total": 2})),)
    line = log_line(RoleDecision("customer_id", "E-post", Fact("customer_email"), (), refused))
    assert line == "Customer: 'E-post': customers are identified by e-mail address"


def test_customers_stand_below_the_totals() -> None:
    days = frozenset({date(2024, 1, 1), date(2024, 2, 1)})
    anna = CustomerExample("anna", 1, 12.5, date(2024, 2, 1), date(2024, 2, 1))
    found = CleaningCounts(n_orders=1200, sales=12_345_670_000, days=days, examples=(anna,))
    assert example_lines(found, has_amounts=True) == [
        "Please compare with your shop's back office (orders, money after refunds, first and last day):",
        "  All customers  1,200 orders  1,234,567.00  2024-01-01 to 2024-02-01",
        "  anna               1 order          12.50  2024-02-01 to 2024-02-01",
    ]
    assert example_lines(found, has_amounts=False)[2] == "  anna               1 order   2024-02-01 to 2024-02-01"
    assert example_lines(CleaningCounts(), has_amounts=True) == []
