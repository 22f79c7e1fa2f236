"""Who buys because of a contact: learned from groups drawn by lot, judged on customers that were held out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from repurchase.campaigns import targeting
from repurchase.campaigns.measurement import estimate_effect
from repurchase.campaigns.targeting import (
    compare_targeting,
    cross_fitted_uplift,
    evaluate_targeting,
    fit_uplift,
    group_weights,
    qini,
    qini_curve,
    targeted_share,
)
from repurchase.errors import InputError

# Customers, visitors, buyers and spend by arm of Hillstrom's e-mail test; the shares are those published with it:
# Hillstrom, K. (2008). The MineThatData E-Mail Analytics and Data Mining Challenge. blog.minethatdata.com, 20 March.
# Radcliffe, N. J. (2008). Hillstrom's MineThatData email analytics challenge: an approach using uplift modelling.
PUBLISHED = {
    "No E-Mail": (21_306, 0.1062, 0.0057, 0.65),
    "Mens E-Mail": (21_307, 0.1828, 0.0125, 1.42),
    "Womens E-Mail": (21_387, 0.1514, 0.0088, 1.08),
}


@pytest.fixture(scope="module")
def hillstrom(shared_data: Path) -> pl.DataFrame:
    return pl.read_parquet(shared_data / "campaigns" / "hillstrom.parquet")


def world(n: int = 6000, *, moved: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Buyers by one feature, moved by another."""
    random = np.random.default_rng(seed)
    x, treated = random.normal(size=(n, 3)), random.random(n) < 0.5
    uplift = 0.15 * (x[:, 1] > 0) if moved else np.full(n, 0.07)
    outcome = random.random(n) < 0.15 + 0.25 * (x[:, 0] > 0) + uplift * treated
    return x, treated, outcome.astype(np.float64), uplift


def test_the_published_means_are_measured_exactly(hillstrom: pl.DataFrame) -> None:
    means = hillstrom.group_by("segment").agg(pl.len(), pl.col("visit", "conversion", "spend").cast(pl.Float64).mean())
    found = {row[0]: row[1:] for row in means.iter_rows()}
    for arm, (n, visit, conversion, spend) in PUBLISHED.items():
        assert found[arm][0] == n
        assert (round(found[arm][1], 4), round(found[arm][2], 4), round(found[arm][3], 2)) == (visit, conversion, spend)


@pytest.mark.parametrize("arm", ["Mens E-Mail", "Womens E-Mail"])
@pytest.mark.parametrize("outcome", ["visit", "conversion", "spend"])
def test_measured_effects_are_differences_of_the_published_means(
    hillstrom: pl.DataFrame, arm: str, outcome: str
) -> None:
    rows = hillstrom.filter(pl.col("segment").is_in([arm, "No E-Mail"]))
    treated, y = (rows["segment"] == arm).to_numpy(), rows[outcome].cast(pl.Float64).to_numpy()
    found = estimate_effect(y, treated, stratum=np.zeros(rows.height))
    assert found.value == pytest.approx(y[treated].mean() - y[~treated].mean(), abs=1e-12)
    place = {"visit": 1, "conversion": 2, "spend": 3}[outcome]
    assert found.value == pytest.approx(PUBLISHED[arm][place] - PUBLISHED["No E-Mail"][place], abs=0.011)
    assert found.is_significant


def features(rows: pl.DataFrame) -> np.ndarray:
    flags = [(pl.col("zip_code") == name).alias(name) for name in ("Rural", "Urban")]
    flags += [(pl.col("channel") == name).alias(name) for name in ("Web", "Phone")]
    known = rows.select("recency", pl.col("history").log(), "mens", "womens", "newbie", *flags)
    return known.cast(pl.Float64).to_numpy()


@pytest.mark.parametrize("left_out", ["nobody", "Mens E-Mail"], ids=["either e-mail", "women's e-mail"])
def test_learned_targeting_earns_more_visits_than_the_lot_and_the_risk_list(
    hillstrom: pl.DataFrame, left_out: str
) -> None:
    """Either e-mail, or the women's, against none; 30 % reached; each judged by a model that has not seen them."""
    rows = hillstrom.filter(pl.col("segment") != left_out)
    treated, recency = (rows["segment"] != "No E-Mail").to_numpy(), rows["recency"].to_numpy().astype(np.float64)
    trial = evaluate_targeting(
        features(rows),
        treated,
        rows["visit"].to_numpy().astype(np.float64),
        rivals={"highest risk": recency, "highest p": -recency},
        share=0.3,
    )
    assert [one.rival for one in trial.comparisons] == ["random", "highest risk", "highest p"]
    assert all(one.low > 30 for one in trial.comparisons), trial
    assert trial.beats_all
    assert trial.qini > 0.05


def test_a_known_uplift_is_found() -> None:
    x, treated, outcome, uplift = world()
    found = fit_uplift(x, treated, outcome).predict(x)
    assert np.corrcoef(found, uplift)[0, 1] > 0.7
    assert found.mean() == pytest.approx(uplift.mean(), abs=0.03)


@pytest.mark.parametrize("shape", ["line", "step", "bend"])
def test_effects_of_any_shape_are_found(shape: str) -> None:
    """Choosing 30 % of other customers earns most of what knowing every effect would, beyond the lot."""
    earned = 0.0
    for seed in range(2):
        (x, treated, outcome, _), (others, *_, true) = (bent(shape, seed=one) for one in (seed, 100 + seed))
        told = fit_uplift(x, treated, outcome).predict(others)
        lot, best = 0.3 * true.sum(), float(targeted_share(true, share=0.3) @ true)
        earned += (float(targeted_share(told, share=0.3) @ true) - lot) / (best - lot) / 2
    assert earned > 0.55, earned


def bent(shape: str, *, seed: int, n: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x, treated = random.normal(size=(n, 4)), random.random(n) < 0.7
    uplift = {"line": 0.1 + 0.05 * x[:, 1], "step": 0.2 * (x[:, 1] > 0.5), "bend": 0.2 * (np.abs(x[:, 1]) < 0.5)}[shape]
    p = 1 / (1 + np.exp(1.6 - 0.8 * x[:, 0]))
    return x, treated, (random.random(n) < np.clip(p + uplift * treated, 0, 1)).astype(np.float64), uplift


def test_money_is_learned_too_and_missing_values_are_borne() -> None:
    x, treated, outcome, uplift = world()
    x[::7, 2] = np.nan
    x = np.column_stack([x, np.full(len(x), np.nan)])
    found = fit_uplift(x, treated, 30.0 * outcome * np.random.default_rng(3).gamma(4.0, 0.25, len(x))).predict(x)
    assert np.corrcoef(found, uplift)[0, 1] > 0.7
    assert found.mean() == pytest.approx(30.0 * uplift.mean(), abs=1.0)


def test_where_all_are_moved_alike_learning_is_hardly_ever_used() -> None:
    used = 0
    for seed in range(20):
        x, treated, outcome, _ = world(1000, moved=False, seed=seed)
        rivals = {"highest risk": -x[:, 0], "highest p": x[:, 0]}
        used += evaluate_targeting(x, treated, outcome, rivals=rivals, random_state=seed).beats_all
    assert used <= 1


def test_the_bootstrap_interval_is_as_wide_as_repeats_scatter() -> None:
    found, widths = [], []
    for seed in range(60):
        x, treated, outcome, _ = world(1500, seed=seed)
        (one,) = compare_targeting(x[:, 1], {}, treated, outcome, share=0.3, random_state=seed)
        found.append(one.difference)
        widths.append(one.high - one.low)
    assert np.mean(widths) == pytest.approx(3.92 * np.std(found), rel=0.25)


def two_seasons(n: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two campaigns that move nobody: one reached half, one nine in ten, when the first feature made people buy."""
    random = np.random.default_rng(0)
    x, season = random.normal(size=(n, 3)), np.arange(n) % 2 == 1
    treated = random.random(n) < np.where(season, 0.9, 0.5)
    outcome = random.random(n) < 0.1 + 0.4 * season * (x[:, 0] > 0)
    return x, treated, outcome.astype(np.float64), season


def test_a_season_of_a_campaign_that_reached_more_is_no_gain() -> None:
    x, treated, outcome, season = two_seasons()
    weight = group_weights(treated, season)
    (biased,), (even,) = (
        compare_targeting(x[:, 0], {}, treated, outcome, share=0.3, weight=one) for one in (None, weight)
    )
    assert biased.low > 50
    assert even.low < 0 < even.high
    assert qini(x[:, 0], treated, outcome) > 0.1
    found, weighted = (fit_uplift(x, treated, outcome, weight=one).predict(x) for one in (None, weight))
    assert found[x[:, 0] > 0].mean() > 0.1
    assert abs(weighted[x[:, 0] > 0].mean()) < 0.03


def test_even_weights_leave_one_campaign_alone_and_keep_what_each_group_weighs() -> None:
    _, treated, _, season = two_seasons()
    assert group_weights(treated, np.zeros(len(treated))) == pytest.approx(1.0)
    weight = group_weights(treated, season)
    for group in (treated, ~treated):
        assert weight[group & season].sum() == pytest.approx(group.mean() * season.sum())
        assert weight[group].sum() == pytest.approx(group.sum())


def test_a_customer_of_two_campaigns_is_held_out_of_both_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, treated, outcome, _ = world(600)
    customer = np.arange(600) // 2
    trained: list[set[float]] = []

    def watched(features: np.ndarray, *told: np.ndarray, weight: np.ndarray) -> object:
        trained.append(set(features[:, -1]))
        return fit_uplift(features, *told, weight=weight)

    monkeypatch.setattr(targeting, "fit_uplift", watched)
    cross_fitted_uplift(np.column_stack([x, customer]), treated, outcome, customer=customer)
    everyone = set(customer)
    assert [len(everyone - seen) for seen in trained] == [100, 100, 100]


def test_rows_of_the_same_customer_widen_the_interval() -> None:
    x, treated, outcome, _ = world(1500)
    (alone,) = compare_targeting(x[:, 1], {}, treated, outcome, share=0.3)
    twice = np.concatenate([np.column_stack([x, treated, outcome])] * 2)
    told = (twice[:, 1], {}, twice[:, 3] > 0, twice[:, 4])
    (rows,) = compare_targeting(*told, share=0.3)
    (people,) = compare_targeting(*told, share=0.3, customer=np.tile(np.arange(1500), 2))
    assert people.high - people.low == pytest.approx(2 * (alone.high - alone.low), rel=0.1)
    assert rows.high - rows.low < 0.8 * (people.high - people.low)


def test_qini_by_hand() -> None:
    # The two best are moved for certain, the two others not at all: half the customers earn the whole effect.
    score, outcome = np.array([4, 4, 3, 3, 2, 2, 1, 1.0]), np.array([1, 0, 1, 0, 0, 0, 0, 0.0])
    treated = np.tile([True, False], 4)
    share, gain = qini_curve(score, treated, outcome)
    assert gain[share == 1.0] == pytest.approx([4.0])
    assert gain[share == 0.5] == pytest.approx([4.0])
    assert qini(score, treated, outcome) == pytest.approx(0.25, abs=0.01)


def test_a_tie_is_reached_in_equal_parts() -> None:
    assert targeted_share(np.zeros(4), share=0.3) == pytest.approx([0.3] * 4)
    assert targeted_share([1.0, 2.0, 3.0], share=0.5).sum() == pytest.approx(1.5)


def test_too_few_outcomes_teach_nothing() -> None:
    with pytest.raises(InputError, match="at least 20 outcomes"):
        fit_uplift(np.zeros((100, 1)), np.tile([True, False], 50), np.zeros(100))
