"""Columns for curves: bent once, and values that many share computed once."""

import numpy as np
import numpy.typing as npt
import pytest

from repurchase.models.additive import AdditiveModel
from repurchase.models.snapshots import MAX_WHOLE_VALUE, FeatureMatrix, stack_matrices, transform_feature

Floats = npt.NDArray[np.float64]

COUNTS = np.array([0.0, 3.0, np.nan, 7.0, 3.0, 0.0])
MONEY = np.array([0.5, 20.0, np.nan, 1e6, -3.0, 0.0])


def one_curve(name: str, knots: tuple[float, ...], heights: tuple[float, ...]) -> AdditiveModel:
    return AdditiveModel((name,), (knots,), (heights,), (-4.0,), 0.25)


def by_interpolation(head: AdditiveModel, values: Floats) -> Floats:
    transformed = transform_feature(head.columns[0], values)
    return head.intercept + np.where(
        np.isnan(transformed), head.missing[0], np.interp(transformed, head.knots[0], head.heights[0])
    )


@pytest.mark.parametrize(
    ("knots", "heights"),
    [
        ((0.5, 1.0, 1.5, 2.0, 9.0), (1.0, -2.0, 0.0, 0.5, 0.5)),
        ((0.0, 2.0), (0.0, 1.0)),
        ((1.0,), (3.0,)),
        ((1.0, 1.0 + 2.0**-52, 2.0), (1.0, 1.0, 3.0)),
        ((0.0, 1e-300, 2.0), (1.0, 1.0 + 2.0**-52, 3.0)),
    ],
)
@pytest.mark.parametrize("values", [COUNTS, MONEY, COUNTS * 1e6, np.zeros(0)])
def test_a_curve_is_the_line_through_its_points(
    knots: tuple[float, ...], heights: tuple[float, ...], values: Floats
) -> None:
    head = one_curve("spend_last", knots, heights)
    np.testing.assert_allclose(
        head.total(FeatureMatrix({"spend_last": values})), by_interpolation(head, values), rtol=0, atol=1e-12
    )


def test_what_many_share_gives_the_bits_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    days = np.where(rng.random(900) < 0.2, np.nan, np.floor(rng.gamma(0.7, 200.0, 900)))
    head = one_curve("gap_last_days", (0.3, 1.1, 3.7, 5.0), (0.1, -0.7, 0.33, 1.0))
    whole = FeatureMatrix({"gap_last_days": days})
    assert whole.transformed("gap_last_days").index is not None
    among_others = FeatureMatrix({"gap_last_days": np.append(0.5, days)})
    assert among_others.transformed("gap_last_days").index is None
    assert head.total(whole).tobytes() == head.total(among_others)[1:].tobytes()
    some = np.array([5, 17, 3])
    assert head.total(whole, some).tolist() == head.total(among_others, some + 1).tolist()
    assert head.total(whole, some).tolist() == head.total(whole)[some].tolist()


@pytest.mark.parametrize("odd", [0.5, -1.0, -0.5, float(MAX_WHOLE_VALUE), np.inf])
def test_a_value_that_is_no_small_count_is_kept_as_it_is(odd: float) -> None:
    values = np.append(np.arange(100.0), odd)
    assert FeatureMatrix({"frequency": values}).transformed("frequency").index is None


def test_is_bent_once_for_all_that_stand_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from repurchase.models import snapshots as design

    transformed: list[str] = []
    monkeypatch.setattr(
        design, "transform_feature", lambda name, values: transformed.append(name) or transform_feature(name, values)
    )
    shared = FeatureMatrix({"spend_last": MONEY, "frequency": COUNTS})
    for factor in (1.0, 2.0):
        one = FeatureMatrix({"btyd_rate": MONEY * factor, "frequency": COUNTS + 1}, parent=shared)
        one.transformed("spend_last")
        one.transformed("btyd_rate")
        assert one["frequency"][1] == 4.0
    assert transformed == ["spend_last", "btyd_rate", "btyd_rate"]


def test_names_come_in_order_and_rows_stay_together() -> None:
    design = FeatureMatrix({"a": COUNTS, "b": MONEY}, parent=FeatureMatrix({"c": COUNTS}))
    assert list(design) == ["c", "a", "b"]
    assert (len(design), design.n_customers) == (3, 6)
    both = stack_matrices([design.rows(slice(0, 2)), design.rows(np.array([4]))])
    assert {name: values.tolist() for name, values in both.items()} == {
        "c": [0.0, 3.0, 3.0],
        "a": [0.0, 3.0, 3.0],
        "b": [0.5, 20.0, -3.0],
    }
