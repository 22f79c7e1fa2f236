"""Statuses of several words, voided receipts, and statuses that the settings name."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from repurchase.errors import OrdersError
from repurchase.orders.pipeline import CleanOrders, clean_orders
from repurchase.settings import Settings
from repurchase.sources.statuses import classify_status, classify_type

Take = Callable[..., tuple[tuple[str, ...], float]]


@pytest.mark.parametrize(
    "text",
    [
        "Payment received, pending shipment",
        "Paid, awaiting delivery",
        "Paid - pending",
        "Betalt - venter på levering",
        "Betalt, venter på levering",
        "Betaling modtaget, afventer forsendelse",
        "Betald, väntar på leverans",
        "Bezahlt, Versand ausstehend",
        "Zahlung erhalten - wartet auf Versand",
        "Paiement reçu, en attente d'expédition",
        "Pagado, pendiente de envío",
        "Pago recibido, pendiente de envío",
        "Pago - aguardando envio",
        "Pagato, in attesa di spedizione",
        "Betaald, wacht op verzending",
        "Opłacone, oczekuje na wysyłkę",
        "Оплачен, ожидает отправки",
    ],
)
def test_what_was_paid_and_waits_for_something_else_is_a_sale(text: str) -> None:
    assert classify_status(text) == "sale"


@pytest.mark.parametrize(
    "text",
    [
        "awaiting payment",
        "Pending payment",
        "payment pending",
        "Payment is pending",
        "Payment not received, pending",
        "Order received, awaiting payment",
        "Order confirmed - waiting (bank transfer)",
        "Not yet paid, pending",
        "Paid, pending cancellation",
        "venter på betaling",
        "venter på at betaling er mottatt",
        "afventer betaling",
        "väntar på betalning",
        "warten auf Zahlung",
        "Bestellung erhalten, warten auf Zahlung",
        "en attente de paiement",
        "Pago pendiente",
        "Pago: pendiente",
        "pendiente de pago",
        "in attesa di pagamento",
        "aguardando pagamento",
        "wacht op betaling",
        "oczekuje na płatność",
        "ожидает оплаты",
    ],
)
def test_what_waits_for_its_payment_is_none(text: str) -> None:
    assert classify_status(text) == "not_sale"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Not refunded", "sale"),
        ("not yet refunded", "sale"),
        ("No refund", "sale"),
        ("non-refundable", "sale"),
        ("notrefunded", "sale"),
        ("Paid, no refund", "sale"),
        ("ikke refundert", "sale"),
        ("nicht erstattet", "sale"),
        ("pas remboursé", "sale"),
        ("не возвращен", "sale"),
        ("Complete - refund declined", "sale"),
        ("refund rejected", "unclear"),
        ("Refund failed", "unclear"),
        ("Cancelled, not refunded", "not_sale"),
        ("Declined and refunded", "not_sale"),
        ("Refunded, not shipped", "refunded"),
        ("Refunded", "refunded"),
        ("Paid, refund pending", "refunded"),
        ("Partially refunded", "sale"),
    ],
)
def test_a_refund_that_was_not_made_is_none(text: str, meaning: str) -> None:
    assert classify_status(text) == meaning


def cleaned(rows: list[tuple[str, str, str, str, str]], **settings: object) -> CleanOrders:
    names = ["customer_id", "order_id", "order_date", "amount", "type"]
    if "status" in settings:
        names[-1] = str(settings.pop("status"))
    own = Settings(**settings)  # type: ignore[arg-type]
    return clean_orders(pl.DataFrame(rows, schema=names, orient="row"), settings=own)


class TestVoids:
    @pytest.mark.parametrize("word", ["Void", "Voided", "Sale - void", "VOIDED SALE", "Return (voided)", "Annulé"])
    def test_are_no_refunds(self, word: str) -> None:
        assert classify_type(word) == "other"

    @pytest.mark.parametrize("word", ["Void", "Voided"])
    def test_with_positive_money_are_set_aside_as_cancelled(self, word: str) -> None:
        rows = [(f"k{n % 5}", f"a{n}", f"2024-01-{n + 10}", f"{n + 10}.50", "Sale") for n in range(10)]
        result = cleaned([*rows, ("k1", "b1", "2024-02-01", "30.00", word), ("k2", "b2", "2024-02-02", "3", "Refund")])
        assert {why.reason: (why.rows, why.treatment) for why in result.report.reasons} == {
            "cancelled_order": (1, "set_aside"),
            "return": (1, "netted"),
        }
        assert result.orders["amount"].sum() == pytest.approx(150.0 - 3.0)

    def test_with_negative_money_take_off_their_sale(self) -> None:
        rows = [(f"k{n % 5}", f"a{n}", f"2024-01-{n + 10}", f"{n + 10}.50", "Sale") for n in range(10)]
        result = cleaned([*rows, ("k1", "b1", "2024-02-01", "-11.50", "Void")])
        assert result.orders["amount"].sum() == pytest.approx(150.0 - 11.5)


class TestSaleStatuses:
    ROWS = tuple(
        (f"k{n % 5}", f"a{n}", f"2024-01-{n + 10}", f"{n + 10}.50", "completed" if n else "refunded") for n in range(10)
    )

    def test_are_sales_and_no_others(self) -> None:
        result = cleaned([*self.ROWS], status="status", sale_statuses=("completed",))
        assert {why.reason: why.rows for why in result.report.reasons} == {"cancelled_order": 1}
        assert result.report.n_orders == 9
        assert "not among sale_statuses" in " ".join(result.report.lines())

    def test_may_list_those_that_were_paid_back(self) -> None:
        result = cleaned([*self.ROWS], status="status", sale_statuses=("completed", "refunded"))
        assert (result.report.n_orders, result.report.reasons) == (10, ())

    def test_leave_refunds_taken_off(self) -> None:
        back = ("k1", "a1", "2024-02-01", "-11.50", "refunded")
        result = cleaned([*self.ROWS[1:], back], status="status", sale_statuses=("completed",))
        assert result.orders["amount"].sum() == pytest.approx(139.5 - 11.5)

    def test_take_the_refund_of_an_order_with_it(self) -> None:
        back = ("k1", "a1", "2024-02-01", "-11.50", "refunded")
        dead = ("k1", "a1", "2024-01-11", "11.50", "cancelled")
        result = cleaned([*self.ROWS[2:], dead, back], status="status")
        assert result.orders["amount"].sum() == pytest.approx(128.0)
        assert {why.reason: why.rows for why in result.report.reasons if why.rows} == {"cancelled_order": 2}

    def test_that_leave_nothing_are_explained_in_words(self) -> None:
        with pytest.raises(OrdersError, match=r"none of the 10 rows is a sale: its status, type or a flag says"):
            cleaned([*self.ROWS], status="status", sale_statuses=("sent",))


class TestNamedStatuses:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        words = ["completed", "completed", "processing", "paid later", "unpaid"]
        lines = [
            f"k{n % 20},a{n},2024-{n % 8 + 1:02d}-{n % 27 + 1:02d},{n % 40 + 10}.50,{words[n % 5]}" for n in range(200)
        ]
        path = tmp_path / "orders.csv"
        path.write_text("\n".join(["customer_id,order_id,order_date,amount,status", *lines, ""]), encoding="utf-8")
        return path

    @pytest.mark.parametrize(
        ("settings", "option"),
        [
            ({"sale_statuses": ("completed", "procesing")}, "--sale-statuses"),
            ({"not_sale_statuses": ("completed", "procesing")}, "--not-sale-statuses"),
            ({"sale_statuses": ("procesing",)}, "--sale-statuses"),
        ],
    )
    @pytest.mark.parametrize("partitions", [1, 3])
    def test_mistyped_are_refused(
        self, log: Path, taken_in: Take, settings: dict[str, tuple[str, ...]], option: str, partitions: int
    ) -> None:
        with pytest.raises(OrdersError, match="Did you mean 'processing'") as refused:
            taken_in(log, **settings, partitions=partitions)
        assert f"no row has the status 'procesing' of {option}." in str(refused.value)
        assert "Statuses found: 'completed', 'paid later', 'processing', 'unpaid'." in str(refused.value)
        assert "\n" not in str(refused.value)
        assert "paid later" not in refused.value.log_message

    def test_of_which_none_occurs_are_refused(self, log: Path, taken_in: Take) -> None:
        with pytest.raises(OrdersError, match=r"no row has the status 'sent', 'zzz' of --sale-statuses and --not-sale"):
            taken_in(log, sale_statuses=("sent",), not_sale_statuses=("zzz",))

    @pytest.mark.parametrize("word", ["on hold", "paid"])  # "unpaid" is not "paid" mistyped
    def test_that_a_short_log_lacks_are_noted(self, log: Path, taken_in: Take, word: str) -> None:
        notes, _ = taken_in(log, sale_statuses=("completed", word))
        assert f"No row has the status '{word}' that the settings name." in notes

    def test_that_occur_are_no_matter(self, log: Path, taken_in: Take) -> None:
        assert taken_in(log, sale_statuses=("Completed", "PROCESSING"))[0] == ()

    def test_need_a_column_of_statuses(self, tmp_path: Path, taken_in: Take) -> None:
        path = tmp_path / "orders.csv"
        lines = [f"k{n % 5},a{n},2024-01-{n + 1:02d},{n + 10}.50" for n in range(20)]
        path.write_text("\n".join(["customer_id,order_id,order_date,amount", *lines, ""]), encoding="utf-8")
        with pytest.raises(OrdersError, match=r"--sale-statuses names 'paid', but no column of statuses was found"):
            taken_in(path, sale_statuses=("paid",))
