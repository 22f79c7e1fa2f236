"""What came of scores that were delivered: promised beside what happened, the rules made anew, and the grade now."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from repurchase.errors import InputError
from repurchase.estimators.cuts import Cuts
from repurchase.estimators.rules import RULES, fit_rule
from repurchase.evaluation.comparison import TOP
from repurchase.evaluation.cutoffs import MODEL, Cutoff, Prediction
from repurchase.evaluation.grade import excess_ece
from repurchase.evaluation.ties import total
from repurchase.evaluation.uncertainty import estimate, top_total
from repurchase.evaluation.verdict import Verdict, measure, verdict_on
from repurchase.features.history import Outcomes
from repurchase.features.timeline import Ledger

__all__ = ["Delivered", "deliver", "look_back", "range_coverage"]

Floats = npt.NDArray[np.float64]

RULE_CUSTOMERS = 50_000
NEXT_ORDER_DAYS = 365
"""A next order is dated if one is to be expected within so many days (see ``estimators.timing``)."""
LEAST_FOUND = 0.5
"""Share of the scored customers that the orders must know, or they are not the same shop's whole log."""
PROMISED = 0.80


@dataclass(frozen=True)
class Delivered:
    """Scores, beside the orders that are known by now.

    Parameters
    ----------
    scores : DataFrame
        Scored customers that the orders know, in the order of ``customer``.
    customer : int array of shape (n_customers,)
        Their codes in ``book``, rising.
    book : Ledger
        All orders known now.
    as_of : date
        Last day the scores know.
    n_gone : int
        Scored customers without a purchase day by ``as_of`` in the orders as they are now.
    """

    scores: pl.DataFrame
    customer: npt.NDArray[np.int64]
    book: Ledger
    as_of: date
    n_gone: int

    def ends(self, horizon_days: int) -> date:
        """Last day of a window.

        Parameters
        ----------
        horizon_days : int
            Days ahead.

        Returns
        -------
        date
            Inclusive.
        """
        return self.as_of + timedelta(days=horizon_days)

    def has_passed(self, horizon_days: int) -> bool:
        """Say whether everything of a window is known.

        Parameters
        ----------
        horizon_days : int
            Days ahead.

        Returns
        -------
        bool
            Whether its last day was observed.
        """
        return self.ends(horizon_days) <= self.book.observed_until

    def outcomes(self, horizon_days: int) -> Outcomes:
        """Look up what came.

        Parameters
        ----------
        horizon_days : int
            Days ahead; the window has passed.

        Returns
        -------
        Outcomes
            One value per row of ``scores``.
        """
        history = self.book.history(self.as_of)
        return self.book.outcomes(
            history.take(np.flatnonzero(np.isin(history.customer, self.customer))), horizon_days=horizon_days
        )

    def column(self, name: str) -> Floats | None:
        """Take a column of the scores.

        Parameters
        ----------
        name : str
            Which.

        Returns
        -------
        array of shape (n_customers,), optional
            None where the scores have it not, or not for all.
        """
        if name not in self.scores.columns or self.scores[name].null_count():
            return None
        return self.scores[name].to_numpy().astype(np.float64)


def deliver(scores: pl.DataFrame, book: Ledger, *, as_of: date) -> Delivered:
    """Put scores beside the orders.

    Parameters
    ----------
    scores : DataFrame
        See ``tables.scores_table``; rows that were not scored are passed over.
    book : Ledger
        The whole log, what lies before ``as_of`` included.
    as_of : date
        Last day the scores know.

    Returns
    -------
    Delivered
        Customers that are in both.

    Raises
    ------
    InputError
        If no customer was scored, or the orders know fewer than half of them.
    """
    scored = scores.filter(pl.col("status") == "scored")
    if not scored.height:
        raise InputError("The scores hold no scored customer: there is nothing to compare.")
    known = book.history(as_of).customer
    codes = pl.DataFrame({"customer_id": book.ids.gather(known), "customer": known})
    found = scored.join(codes, on="customer_id", how="inner").sort("customer")
    if found.height < LEAST_FOUND * scored.height:
        raise InputError(
            f"The orders know {found.height:,} of {scored.height:,} scored customers by {as_of}. Send the whole log of "
            "the same shop, with the orders before that day."
        )
    return Delivered(
        found.drop("customer"), found["customer"].to_numpy(), book, as_of, n_gone=scored.height - found.height
    )


def look_back(delivered: Delivered, *, horizon_days: int) -> dict[str, Any]:
    """Judge one horizon of the scores by what came.

    Parameters
    ----------
    delivered : Delivered
        Scores and orders.
    horizon_days : int
        Days ahead that the scores speak about.

    Returns
    -------
    dict
        Before the window has passed: ``passed`` is False, with its last day and the days that are missing. Then: what
        was promised and came (buyers, orders, spend, each a total over customers), calibration, log loss and AUC
        beside the two rules fitted on what was known on that day, money found at the top of the list, and the grade.
        Undefined figures are nan.
    """
    about = {"horizon_days": horizon_days, "ends": delivered.ends(horizon_days).isoformat()}
    if not delivered.has_passed(horizon_days):
        missing = (delivered.ends(horizon_days) - delivered.book.observed_until).days
        return {**about, "passed": False, "days_missing": missing}
    outcome = delivered.outcomes(horizon_days)
    cutoff = _cutoff(delivered, outcome, horizon_days)
    rules = [name for name in cutoff.said if name != MODEL]
    verdict = verdict_on([cutoff]) if rules else None
    return {
        **about,
        "passed": True,
        "n_customers": len(cutoff.bought),
        "n_bought": int(cutoff.bought.sum()),
        **_promised(cutoff),
        "model": _figures(cutoff, MODEL),
        "rules": {name: _figures(cutoff, name) for name in rules},
        "orders": _totals(delivered.column(f"orders_expected_{horizon_days}d"), outcome.purchase_days),
        "spend": _totals(cutoff.said[MODEL].spend, cutoff.spend),
        "money_top_decile": _money(delivered, cutoff, verdict),
        **_grade(verdict),
    }


def range_coverage(delivered: Delivered, *, clv_horizon_days: int) -> dict[str, dict[str, Any]]:
    """Say how often what came lay inside the promised 80 % ranges.

    Money is counted as it was spent, not discounted; money given back counts as none spent. The next order is judged
    among those for whom one was dated and who came back within a year: until a year has passed, only the early ones
    would be seen.

    Parameters
    ----------
    delivered : Delivered
        Scores and orders.
    clv_horizon_days : int
        Days over which lifetime value was counted.

    Returns
    -------
    dict of str to dict
        ``clv`` and ``next_order``: ``passed``, ``ends``, and where it passed ``n`` and ``inside`` beside ``promised``.
    """
    ranges = {"clv": (clv_horizon_days, _clv_inside), "next_order": (NEXT_ORDER_DAYS, _next_order_inside)}
    found: dict[str, dict[str, Any]] = {}
    for name, (days, judge) in ranges.items():
        about = {"ends": delivered.ends(days).isoformat(), "passed": delivered.has_passed(days), "promised": PROMISED}
        inside = judge(delivered, delivered.outcomes(days)) if about["passed"] else None
        counted = inside is not None and len(inside) > 0
        found[name] = {
            **about,
            "n": len(inside) if inside is not None and counted else 0,
            "inside": float(inside.mean()) if inside is not None and counted else None,
        }
    return found


def _cutoff(delivered: Delivered, outcome: Outcomes, horizon_days: int) -> Cutoff:
    p = delivered.column(f"p_repurchase_{horizon_days}d")
    if p is None:
        raise InputError(f"The scores lack probabilities for {horizon_days} days. Send what `repurchase score` wrote.")
    spend = outcome.spend if delivered.book.has_amounts else None
    expected = delivered.column(f"spend_expected_{horizon_days}d")
    said = {MODEL: Prediction(p, expected if spend is not None else None)}
    return Cutoff(
        day=delivered.as_of,
        horizon_days=horizon_days,
        customers=delivered.customer,
        bought=outcome.bought,
        spend=spend,
        said={**said, **_rules(delivered, horizon_days)},
    )


def _rules(delivered: Delivered, horizon_days: int) -> dict[str, Prediction]:
    """Fit the rules on what was known on the day of the scores; none where nothing was known of earlier windows."""
    cuts = Cuts(delivered.book.until(delivered.as_of), horizons=(horizon_days,))
    days = cuts.train_days(delivered.as_of, horizon_days=horizon_days)
    if not days:
        return {}
    earlier = [cuts.sample(day, most=RULE_CUSTOMERS, random_state=0) for day in days]
    bought = [cuts.outcomes(known, horizon_days=horizon_days).bought for known in earlier]
    now = cuts.at(delivered.as_of)
    if not np.isin(delivered.customer, now.history.customer).all():
        return {}
    place = np.searchsorted(now.history.customer, delivered.customer)
    return {
        name: Prediction(fit_rule(name, earlier, bought, horizon_days=horizon_days).p_purchase(now)[place], None)
        for name in RULES
    }


def _figures(cutoff: Cutoff, predictor: str) -> dict[str, float]:
    figures = measure(cutoff, predictor=predictor)
    return {**figures, "excess_ece": excess_ece(figures["ece"], figures["chance_ece"])}


def _promised(cutoff: Cutoff) -> dict[str, float]:
    p, n = cutoff.said[MODEL].p, len(cutoff.bought)
    gap = p - cutoff.bought
    mean_gap = total(gap) / n
    off = estimate(mean_gap, [(gap - mean_gap) / n], [cutoff.customers])
    return {
        "p_mean": total(p) / n,
        "bought_share": float(cutoff.bought.mean()),
        "p_mean_off": off.value,
        "p_mean_off_low": off.low,
        "p_mean_off_high": off.high,
    }


def _totals(expected: Floats | None, came: npt.ArrayLike | None) -> dict[str, float] | None:
    if expected is None or came is None:
        return None
    return {"expected": total(expected), "came": total(np.asarray(came, dtype=np.float64))}


def _money(delivered: Delivered, cutoff: Cutoff, verdict: Verdict | None) -> dict[str, Any] | None:
    """What the customers spent that a list of a tenth would have reached, by each of the lists a shop may make."""
    if cutoff.spend is None:
        return None
    by_value = delivered.column("value_at_risk")
    contest = verdict.money if verdict else None
    return {
        "contacted": TOP,
        "available": total(cutoff.spend),
        "by_expected_spend": top_total(cutoff.spend, cutoff.said[MODEL].spend_order, share=TOP),
        "by_value_at_risk": None if by_value is None else top_total(cutoff.spend, by_value, share=TOP),
        "by_best_rule": contest.rule if contest else None,
        "best_rule": contest.rule_name if contest else None,
    }


def _grade(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {
            "grade": "-",
            "grade_words": "Not judged: before that day no such window had passed to teach the rules.",
            "best_rule": None,
            "log_loss_gain": None,
            "log_loss_gain_low": None,
            "log_loss_gain_high": None,
        }
    return {
        "grade": verdict.grade.letter,
        "grade_words": verdict.grade.words,
        "best_rule": verdict.standing.best_rule,
        "log_loss_gain": verdict.gain.value,
        "log_loss_gain_low": verdict.gain.low,
        "log_loss_gain_high": verdict.gain.high,
    }


def _clv_inside(delivered: Delivered, outcome: Outcomes) -> npt.NDArray[np.bool_] | None:
    low, high = (delivered.column(name) for name in ("clv_low", "clv_high"))
    if low is None or high is None or not delivered.book.has_amounts:
        return None
    spent = np.maximum(outcome.spend, 0.0)
    return np.asarray((spent >= low) & (spent <= high))


def _next_order_inside(delivered: Delivered, outcome: Outcomes) -> npt.NDArray[np.bool_] | None:
    low, high = (_days_ahead(delivered, name) for name in ("next_order_date_low", "next_order_date_high"))
    judged = ~np.isnan(low) & ~np.isnan(high) & ~np.isnan(outcome.wait_days)
    wait = outcome.wait_days[judged]
    return np.asarray((wait >= low[judged]) & (wait <= high[judged]))


def _days_ahead(delivered: Delivered, name: str) -> Floats:
    days = delivered.scores.select((pl.col(name) - pl.lit(delivered.as_of)).dt.total_days().cast(pl.Float64))
    return np.asarray(days.to_series().fill_null(np.nan).to_numpy(), dtype=np.float64)
