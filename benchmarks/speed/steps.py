"""What is timed, each in a process of its own: ``python -m benchmarks.speed.steps STEP ORDERS``."""

import sys
import warnings

HORIZON_DAYS = 365


def scan(path: str) -> None:
    """A bare scan of the file: every column is read once."""
    import polars as pl

    pl.scan_parquet(path).select(
        pl.col("amount").sum(), pl.col("order_date").max(), pl.col("customer_id", "order_id").str.len_bytes().sum()
    ).collect()


def our_features(path: str) -> None:
    """Orders to RFM and the whole feature table, one horizon's windows included."""
    from repurchase.features.behaviour import rfm_of_history, window_features
    from repurchase.models.scoring import predict_in_blocks
    from repurchase.models.snapshots import Snapshot

    book, day = _ledger(path)
    history = book.history(day)
    rfm_of_history(history, book.ids)
    predict_in_blocks(
        Snapshot(history), lambda block: {**block.features, **window_features(block.history, horizon_days=90)}, n_jobs=2
    )


def our_fit(path: str) -> None:
    """Orders to fitted BG/NBD and Gamma-Gamma."""
    from repurchase.models.snapshots import Snapshot

    book, day = _ledger(path)
    print(*_fitted(Snapshot(book.history(day))))


def our_parametric(path: str) -> None:
    """Orders to fits, expected purchases, P(alive) and 12-month spend, nothing learned."""
    from repurchase.models.snapshots import Snapshot

    book, day = _ledger(path)
    cut = Snapshot(book.history(day))
    btyd, money = _fitted(cut)
    forecast = cut.btyd_forecast(btyd)
    forecast.p_alive  # noqa: B018 - computed on first use
    forecast.expected_purchases(90)
    forecast.expected_purchases(HORIZON_DAYS) * money.expected_value(cut.rfm[0], cut.repeat_spend_mean)


def _fitted(cut):
    from repurchase.models.btyd.fitting import fit_btyd, fit_gamma_gamma

    return fit_btyd(*cut.rfm, families=("bgnbd",)), fit_gamma_gamma(cut.rfm[0], cut.repeat_spend_mean)


def _ledger(path: str):
    import polars as pl

    from repurchase.features.ledger import build_ledger

    orders = pl.read_parquet(path)
    day = orders["order_date"].max().date()
    return build_ledger(orders, observed_until=day), day


def their_summary(path: str) -> None:
    """lifetimes' summary: frequency, recency, age, monetary value."""
    _summary(path)


def their_fit(path: str) -> None:
    """The same, and BG/NBD and Gamma-Gamma fitted on raw rows."""
    _fit(_summary(path))


def their_scores(path: str) -> None:
    """The same, and expected purchases, P(alive) and 12-month lifetime value."""
    summary = _summary(path)
    purchases, money = _fit(summary)
    columns = summary["frequency"], summary["recency"], summary["T"]
    purchases.conditional_expected_number_of_purchases_up_to_time(90, *columns)
    purchases.conditional_probability_alive(*columns)
    money.customer_lifetime_value(purchases, *columns, summary["monetary_value"], time=12, freq="D", discount_rate=0.01)


def _summary(path: str):
    import pandas as pd
    from lifetimes.utils import summary_data_from_transaction_data

    orders = pd.read_parquet(path)
    return summary_data_from_transaction_data(
        orders,
        "customer_id",
        "order_date",
        monetary_value_col="amount",
        observation_period_end=orders["order_date"].max(),
    )


def _fit(summary):
    from lifetimes import BetaGeoFitter, GammaGammaFitter

    purchases = BetaGeoFitter().fit(summary["frequency"], summary["recency"], summary["T"])
    repeat = summary[summary["frequency"] > 0]
    money = GammaGammaFitter().fit(repeat["frequency"], repeat["monetary_value"])
    print(dict(purchases.params_), dict(money.params_))
    return purchases, money


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    globals()[sys.argv[1]](sys.argv[2])
