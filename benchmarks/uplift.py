"""Judge ways of choosing whom to reach, and with which e-mail, on a randomised campaign and on generated ones.

Hillstrom's 64,000 customers are parted in two by lot. Learners were chosen on half A, each customer judged by a model
that has not seen them; half B was then looked at. A way of choosing earns the sum over the chosen of

    m_a(x) - m_0(x) + 1[e-mail a] (y - m_a(x)) / e_a - 1[none] (y - m_0(x)) / e_0

with outcome models m that have not seen the customer and e the lot's shares: unbiased whatever m is, and the difference
of two ways is a sum over customers, with its interval. Run it as ``python -m benchmarks.uplift FOLDER``.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from repurchase.campaigns.targeting import evaluate_targeting, fit_uplift, group_weights, targeted_share

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Learner = Callable[[Floats, Flags, Floats], Callable[[Floats], Floats]]
SHARE, FOLDS, REPEATS = 0.3, 3, 2
ARMS = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}
TASKS = {"men's": (0, 1), "women's": (0, 2), "either, by lot": (0, 1, 2)}
WORLDS = ("linear", "step", "bend", "push", "alike", "none")


class Customers(NamedTuple):
    """What was known, which e-mail the lot gave (0: none), and whether they came."""

    x: Floats
    arm: npt.NDArray[np.int64]
    y: Floats

    def take(self, which: npt.NDArray[Any]) -> "Customers":
        """Keep some."""
        return Customers(self.x[which], self.arm[which], self.y[which])


def hillstrom(folder: Path) -> Customers:
    """Read the campaign; recency comes first."""
    rows = pl.read_parquet(folder / "campaigns" / "hillstrom.parquet")
    flags = [(pl.col("zip_code") == name).alias(name) for name in ("Rural", "Urban")]
    flags += [(pl.col("channel") == name).alias(name) for name in ("Web", "Phone")]
    known = rows.select("recency", pl.col("history").log(), "mens", "womens", "newbie", *flags).cast(pl.Float64)
    arm = rows["segment"].replace_strict(ARMS, return_dtype=pl.Int64).to_numpy()
    return Customers(known.to_numpy(), arm, rows["visit"].cast(pl.Float64).to_numpy())


def halves(n: int) -> tuple[Flags, Flags]:
    """Half A, on which learners were chosen, and half B."""
    in_b = np.random.default_rng(20080320).permutation(n) % 2 == 1
    return ~in_b, in_b


# Learners


def ours(x: Floats, treated: Flags, y: Floats) -> Callable[[Floats], Floats]:
    """The package's own."""
    return fit_uplift(x, treated, y).predict


def doubly_robust(x: Floats, treated: Flags, y: Floats) -> Callable[[Floats], Floats]:
    """Kennedy (2023): unbiased effects of single customers, regressed by a ridge and by shallow trees, averaged."""
    effects = _effects(Customers(x, treated.astype(np.int64), y), seed=0)[:, 0]
    parts = [make_pipeline(StandardScaler(), Ridge(100.0)).fit(x, effects), _trees(len(y)).fit(x, effects)]
    return lambda z: np.mean([part.predict(z) for part in parts], axis=0)


def r_learner(x: Floats, treated: Flags, y: Floats) -> Callable[[Floats], Floats]:
    """Nie and Wager (2021): what is left of the outcome over what is left of the lot, weighted."""
    left, lot = y - _crossed(x, y, np.ones(len(y), dtype=np.bool_), seed=1), treated - treated.mean()
    ridge = _ridge(2000.0).fit(x, left / lot, ridge__sample_weight=lot**2)
    trees = _trees(len(y)).fit(x, left / lot, sample_weight=lot**2)
    return lambda z: (ridge.predict(z) + trees.predict(z)) / 2


def x_learner(x: Floats, treated: Flags, y: Floats) -> Callable[[Floats], Floats]:
    """Künzel and others (2019): each group's outcome less what the other group's model expects."""
    with_contact, without = _ridge().fit(x[treated], y[treated]), _ridge().fit(x[~treated], y[~treated])
    of_treated = _trees(len(y)).fit(x[treated], y[treated] - without.predict(x[treated]))
    of_held = _trees(len(y)).fit(x[~treated], with_contact.predict(x[~treated]) - y[~treated])
    share = float(treated.mean())
    return lambda z: share * of_held.predict(z) + (1 - share) * of_treated.predict(z)


LEARNERS: dict[str, Learner] = {
    "penalised interactions": ours,
    "doubly robust": doubly_robust,
    "R": r_learner,
    "X": x_learner,
}


def _ridge(alpha: float = 300.0) -> Any:
    return make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), Ridge(alpha))


def _trees(n: int) -> Any:
    return HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.06, max_leaf_nodes=6, min_samples_leaf=max(20, n // 60), l2_regularization=10.0
    )


def _folds(n: int, seed: int, count: int = FOLDS) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(n) % count


def _crossed(x: Floats, y: Floats, used: Flags, *, seed: int) -> Floats:
    told, fold = np.zeros(len(y)), _folds(len(y), seed, 5)
    for number in range(5):
        here = fold == number
        told[here] = _ridge().fit(x[used & ~here], y[used & ~here]).predict(x[here])
    return told


def _effects(who: Customers, *, seed: int) -> Floats:
    """Unbiased effect of every e-mail on every customer, a column each."""
    columns = []
    for arm in range(int(who.arm.max()) + 1):
        got = who.arm == arm
        told = _crossed(who.x, who.y, got, seed=seed)
        columns.append(told + np.where(got, (who.y - told) / got.mean(), 0.0))
    return np.stack(columns[1:], axis=1) - columns[0][:, None]


# Judging


def crossed_scores(who: Customers, learner: Learner, arms: tuple[int, ...], *, seed: int) -> Floats:
    """Every customer's uplift of some e-mails, told by a model that has not seen them; ranked within the fold."""
    fold, told = _folds(len(who.y), 100 + seed), np.zeros(len(who.y))
    for number in range(FOLDS):
        here = fold == number
        learned = _learned(who.take(~here), learner, arms)(who.x[here])
        told[here] = np.argsort(np.argsort(learned)) / len(learned)
    return told


def _learned(who: Customers, learner: Learner, arms: tuple[int, ...]) -> Callable[[Floats], Floats]:
    mine = who.take(np.isin(who.arm, arms))
    return learner(mine.x, mine.arm > 0, mine.y)


def difference(one: Floats, other: Floats, effects: Floats) -> tuple[float, float]:
    """What a way earns beyond another, and half of its 95 % interval; ways and effects have a column per e-mail."""
    each = ((one - other) * effects).sum(axis=1)
    return float(each.sum()), 1.96 * float(each.std()) * len(each) ** 0.5


def one_email(who: Customers, score: Floats) -> list[tuple[float, float]]:
    """Gain, and what it is beyond the lot, the risk list and the highest p, at the share."""
    mine = who._replace(arm=np.where(who.arm > 0, 1, 0))
    effects = _effects(mine, seed=0)
    ways = [np.full(len(who.y), SHARE), *(targeted_share(rival, share=SHARE) for rival in (who.x[:, 0], -who.x[:, 0]))]
    chosen = targeted_share(score, share=SHARE)[:, None]
    return [difference(chosen, 0 * chosen, effects), *(difference(chosen, way[:, None], effects) for way in ways)]


def choosing_the_email(who: Customers, learner: Learner, *, seed: int) -> list[tuple[float, float]]:
    """The same of a policy that chooses whom to reach and with which e-mail.

    Rivals: either e-mail by lot to anyone, to the risk list; the men's, the better one, to anyone, to the risk list, to
    the highest p.
    """
    fold, policy = _folds(len(who.y), 100 + seed), np.zeros((len(who.y), 2))
    for number in range(FOLDS):
        here = fold == number
        told = np.stack([_learned(who.take(~here), learner, (0, arm))(who.x[here]) for arm in (1, 2)], axis=1)
        best = np.eye(2)[told.argmax(axis=1)]
        policy[here] = best * targeted_share(told.max(axis=1), share=SHARE)[:, None]
    lot, risk = np.full(len(who.y), SHARE), targeted_share(who.x[:, 0], share=SHARE)
    highest = targeted_share(-who.x[:, 0], share=SHARE)
    by_lot, men = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    rivals = [lot[:, None] * by_lot, risk[:, None] * by_lot, *(way[:, None] * men for way in (lot, risk, highest))]
    effects = _effects(who, seed=seed)
    return [difference(policy, 0 * policy, effects), *(difference(policy, rival, effects) for rival in rivals)]


def world(kind: str, n: int, seed: int, reached: float = 0.8) -> tuple[Customers, Floats, Floats]:
    """Customers whose effect is known: outcomes, true effects, chance to buy anyway."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 5))
    x[:, 3], x[:, 4] = random.random(n) < 0.5, np.exp(0.5 * x[:, 4])
    p = 1 / (1 + np.exp(1.6 - 0.8 * x[:, 0] - 0.3 * x[:, 3]))
    odds = p / (1 - p) * np.exp(0.35)
    effect = {
        "linear": 0.06 + 0.04 * x[:, 1],
        "step": 0.15 * (x[:, 1] > 0.5) * (x[:, 3] > 0),
        "bend": 0.12 * (np.abs(x[:, 1]) < 0.6),
        "push": odds / (1 + odds) - p,
        "alike": np.full(n, 0.05),
        "none": np.zeros(n),
    }[kind]
    effect = np.clip(p + effect, 0, 1) - p
    arm = (random.random(n) < reached).astype(np.int64)
    return Customers(x, arm, (random.random(n) < p + effect * arm).astype(np.float64)), effect, p


def of_the_oracle(kind: str, learner: Learner, *, repeats: int = 4) -> float:
    """What choosing earns beyond the lot, as a share of what knowing the effects would; on other customers."""
    earned, best = 0.0, 0.0
    for seed in range(repeats):
        who, _, _ = world(kind, 8000, seed)
        others, effect, _ = world(kind, 20_000, 1000 + seed)
        told = learner(who.x, who.arm > 0, who.y)(others.x)
        lot = SHARE * effect.sum()
        earned += float(targeted_share(told, share=SHARE) @ effect) - lot
        best += float(targeted_share(effect, share=SHARE) @ effect) - lot
    return earned / best


def false_alarms(kind: str, *, repeats: int) -> int:
    """How often learning is said to beat the lot, the risk list and the highest p where nothing can be learned."""
    found = 0
    for seed in range(repeats):
        who, _, p = world(kind, 2000, 5000 + seed, 0.5)
        rivals = {"highest risk": -p, "highest p": p}
        found += evaluate_targeting(who.x, who.arm > 0, who.y, rivals=rivals, share=SHARE, random_state=seed).beats_all
    return found


def season_alarms(*, repeats: int, even: bool) -> int:
    """The same of two campaigns that move nobody: one reached half, one nine in ten, in a season of its own."""
    found = 0
    for seed in range(repeats):
        quiet, busy = world("none", 2000, 6000 + seed, 0.5), world("none", 2000, 7000 + seed, 0.9)
        x, p = (np.concatenate(both) for both in ((quiet[0].x, busy[0].x), (quiet[2], busy[2])))
        treated, late = np.concatenate([quiet[0].arm, busy[0].arm]) > 0, np.arange(len(p)) >= len(quiet[2])
        chance = np.clip(p + 0.3 * late * (x[:, 1] > 0), 0, 1)
        y = (np.random.default_rng(8000 + seed).random(len(p)) < chance).astype(np.float64)
        weight = group_weights(treated, late) if even else None
        rivals = {"highest risk": -p, "highest p": p}
        found += evaluate_targeting(
            x, treated, y, rivals=rivals, share=SHARE, weight=weight, random_state=seed
        ).beats_all
    return found


def _told(found: list[tuple[float, float]]) -> str:
    return " | ".join([f"{found[0][0]:.0f}", *(f"{value:+.0f} ± {reach:.0f}" for value, reach in found[1:])])


def _mean(rows: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    return [(float(value), float(reach)) for value, reach in np.mean(np.array(rows), axis=0)]


def lines(folder: Path, repeats: int) -> Iterator[str]:
    """Every table, row by row."""
    everyone = hillstrom(folder)
    half_a, half_b = halves(len(everyone.y))
    parts = {"A": everyone.take(half_a), "B": everyone.take(half_b), "all": everyone}
    yield "| e-mail | customers | learner | visits | beyond the lot | the risk list | the highest p |"
    yield "|---|---|---|---|---|---|---|"
    for task, arms in TASKS.items():
        for part, whole in parts.items():
            who = whole.take(np.isin(whole.arm, arms))
            for name, learner in LEARNERS.items():
                if part == "A" or name in ("penalised interactions", "doubly robust"):
                    seeds = range(REPEATS if part == "A" else 1)
                    rows = [one_email(who, crossed_scores(who, learner, arms, seed=seed)) for seed in seeds]
                    yield f"| {task} | {part} | {name} | {_told(_mean(rows))} |"
    yield (
        "\n| customers | learner | visits | beyond the lot, either e-mail | risk list, either | the lot, men's "
        "| risk list, men's | highest p, men's |\n|---|---|---|---|---|---|---|---|"
    )
    for part, who in parts.items():
        for name in ("penalised interactions", "doubly robust"):
            yield f"| {part} | {name} | {_told(choosing_the_email(who, LEARNERS[name], seed=0))} |"
    yield f"\n| world | {' | '.join(LEARNERS)} |\n|---|{'---|' * len(LEARNERS)}"
    for kind in WORLDS[:4]:
        shares = " | ".join(f"{100 * of_the_oracle(kind, learner):.0f} %" for learner in LEARNERS.values())
        yield f"| {kind} | {shares} |"
    for kind in WORLDS[4:]:
        yield f"\nNothing to learn ({kind}): used {false_alarms(kind, repeats=repeats)} times of {repeats}."
    of = max(repeats // 10, 1)
    for even in (False, True):
        times = season_alarms(repeats=of, even=even)
        yield f"\nA season in one of two campaigns, {'even' if even else 'no'} weights: used {times} times of {of}."


if __name__ == "__main__":
    for line in lines(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
