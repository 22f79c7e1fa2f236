"""Published values of the buy-till-you-die models, on the data they were published for; lifetimes beside them."""

import importlib
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from repurchase.features.behaviour import rfm_table
from repurchase.models.btyd.fitting import fit_btyd, fit_gamma_gamma
from repurchase.models.btyd.model import BtydModel, Family, GammaGamma


@pytest.fixture(scope="module")
def sample(cdnow_file: Path) -> pd.DataFrame:
    """The 1/10 sample of CDNOW, 2,357 customers, weeks, calibrated to 1997-09-30, as it ships with lifetimes."""
    return pd.read_csv(cdnow_file.with_name("cdnow_customers_summary.csv"))


def test_bgnbd_of_fader_hardie_lee_2005_table_2(sample: pd.DataFrame) -> None:
    fit = fit_btyd(sample["frequency"], sample["recency"], sample["T"], families=("bgnbd",))
    assert [round(value, 4) for value in (fit.r, fit.alpha, fit.a, fit.b)] == [0.2426, 4.4135, 0.7929, 2.4258]
    assert fit.log_likelihood == pytest.approx(-9582.43, abs=0.005)


def test_mbgnbd_as_refitted(sample: pd.DataFrame) -> None:
    fit = fit_btyd(sample["frequency"], sample["recency"], sample["T"], families=("mbgnbd",))
    assert [round(value, 3) for value in (fit.r, fit.alpha, fit.a, fit.b)] == [0.525, 6.183, 0.891, 1.614]
    assert fit.log_likelihood == pytest.approx(-9582.133, abs=0.0005)  # lifetimes' own likelihood gives -9582.1327 too


def test_the_likelier_family_is_kept(sample: pd.DataFrame) -> None:
    assert fit_btyd(sample["frequency"], sample["recency"], sample["T"]).family == "mbgnbd"


def test_gamma_gamma_of_fader_hardie_2013(cdnow_file: Path) -> None:
    with_money = pd.read_csv(cdnow_file.with_name("cdnow_customers_summary_with_transactions.csv"))
    fit = fit_gamma_gamma(with_money["x"], with_money["zbar"])
    assert (with_money["x"] > 0).sum() == 946
    assert [round(value, 2) for value in (fit.p, fit.q, fit.v)] == [6.25, 3.74, 15.45]
    assert fit.log_likelihood == pytest.approx(-4055.92, abs=0.005)


def test_expected_purchases_of_hardies_spreadsheet(sample: pd.DataFrame) -> None:
    fit = fit_btyd(sample["frequency"], sample["recency"], sample["T"], families=("bgnbd",))
    expected = fit.expected_purchases([2], [30.43], [38.86], horizon_days=39)
    assert expected[0] == pytest.approx(1.226, abs=0.0005)


@pytest.fixture
def lifetimes() -> Iterator[ModuleType]:
    """The package; its import and its fits warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("lifetimes")


def peer_of(lifetimes: ModuleType, family: Family) -> Any:
    return {"bgnbd": lifetimes.BetaGeoFitter, "mbgnbd": lifetimes.ModifiedBetaGeoFitter}[family]()


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
@pytest.mark.parametrize("whole_log", [False, True], ids=["sample in weeks", "whole log in days"])
def test_fits_agree_with_lifetimes(
    sample: pd.DataFrame, cdnow_orders: pl.DataFrame, family: Family, whole_log: bool, lifetimes: ModuleType
) -> None:
    """A row per customer there, equal rows once here: the same to four digits and more, never less likely."""
    table = rfm_table(cdnow_orders, as_of=date(1998, 6, 30)).select("frequency", "recency_days", "age_days")
    rows = table.to_numpy() if whole_log else sample[["frequency", "recency", "T"]].to_numpy()
    x, t_x, T = rows.T.astype(float)
    fit = fit_btyd(x, t_x, T, families=(family,))
    peer = peer_of(lifetimes, family).fit(x, t_x, T)
    np.testing.assert_allclose([fit.r, fit.alpha, fit.a, fit.b], peer.params_, rtol=1e-5)
    theirs = -len(x) * peer._negative_log_likelihood(np.log(peer.params_.to_numpy()), x, t_x, T, np.ones(len(x)), 0.0)
    assert fit.log_likelihood == pytest.approx(theirs, abs=1e-4)
    assert fit.log_likelihood > theirs - 1e-6


def test_gamma_gamma_fit_agrees_with_lifetimes(cdnow_file: Path, lifetimes: ModuleType) -> None:
    rows = pd.read_csv(cdnow_file.with_name("cdnow_customers_summary_with_transactions.csv"))
    x, mean = rows.loc[rows["x"] > 0, ["x", "zbar"]].to_numpy().T
    fit = fit_gamma_gamma(x, mean)
    peer = lifetimes.GammaGammaFitter().fit(x, mean)
    np.testing.assert_allclose([fit.p, fit.q, fit.v], peer.params_, rtol=2e-5)
    theirs = -len(x) * peer._negative_log_likelihood(np.log(peer.params_.to_numpy()), x, mean, np.ones(len(x)), 0.0)
    assert fit.log_likelihood == pytest.approx(theirs, abs=1e-4)
    assert fit.log_likelihood > theirs - 1e-6


@pytest.mark.parametrize("family", ["bgnbd", "mbgnbd"])
def test_formulas_agree_with_lifetimes(sample: pd.DataFrame, family: Family, lifetimes: ModuleType) -> None:
    fit, peer = BtydModel(family, 0.6, 20.0, 0.8, 2.5), peer_of(lifetimes, family)
    peer.params_ = pd.Series({"r": 0.6, "alpha": 20.0, "a": 0.8, "b": 2.5})
    x, t_x, T = (sample[name].to_numpy() for name in ("frequency", "recency", "T"))
    alive = np.asarray(peer.conditional_probability_alive(x, t_x, T))
    np.testing.assert_allclose(fit.p_alive(x, t_x, T), alive, rtol=1e-12)
    expected = np.asarray(peer.conditional_expected_number_of_purchases_up_to_time(26.0, x, t_x, T))
    np.testing.assert_allclose(fit.expected_purchases(x, t_x, T, horizon_days=26.0), expected, rtol=1e-8)


def test_gamma_gamma_shrinks_like_lifetimes(lifetimes: ModuleType) -> None:
    peer = lifetimes.GammaGammaFitter()
    peer.params_ = pd.Series({"p": 6.25, "q": 3.74, "v": 15.45})
    x, mean = np.array([1, 2, 9]), np.array([5.0, 40.0, 120.0])
    theirs = np.asarray(peer.conditional_expected_average_profit(x, mean))
    np.testing.assert_allclose(GammaGamma(6.25, 3.74, 15.45).expected_value(x, mean), theirs, rtol=1e-12)
