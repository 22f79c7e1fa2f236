import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from repurchase.errors import BundleError
from repurchase.registry.heads import dump_heads, load_heads


def test_predictions_come_back_with_the_same_bits(head: HistGradientBoostingClassifier, rows: np.ndarray) -> None:
    back = load_heads(dump_heads({"a": head}), name="heads.skops")
    assert np.array_equal(back["a"].predict_proba(rows), head.predict_proba(rows))


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma", "poisson", "quantile"])
def test_regressors_of_every_loss_are_allowed(loss: str, rows: np.ndarray) -> None:
    with threadpool_limits(1):
        spend = HistGradientBoostingRegressor(
            loss=loss, quantile=0.5, max_iter=2, max_features=0.5, random_state=np.random.RandomState(0)
        ).fit(rows, np.exp(rows[:, 0]))
    back = load_heads(dump_heads({"spend": spend}), name="heads.skops")
    assert np.array_equal(back["spend"].predict(rows), spend.predict(rows))


def test_types_that_skops_trusts_but_no_bundle_needs_are_foreign() -> None:
    content = skops.io.dumps({"a": LinearRegression()})
    assert skops.io.get_untrusted_types(data=content) == []
    with pytest.raises(BundleError, match=r"1 foreign type: sklearn\.linear_model\._base\.LinearRegression"):
        load_heads(content, name="heads.skops")
    with pytest.raises(BundleError, match="foreign"):
        dump_heads({"a": LinearRegression()})


def _edited(content: bytes, edit: dict[str, Any]) -> bytes:
    """The same skops file, with its first estimator's node changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "schema.json":
                schema = json.loads(part)
                schema["content"]["a"].update(edit)
                part = json.dumps(schema).encode()
            new.writestr(name, part)
    return out.getvalue()


def test_a_foreign_type_is_refused_and_its_code_not_run(
    head: HistGradientBoostingClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "was-run"
    module = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass Payload:\n    pass\n"
    (tmp_path / "evil_module.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    crafted = _edited(dump_heads({"a": head}), {"__module__": "evil_module", "__class__": "Payload"})
    with pytest.raises(BundleError, match=r"foreign type: evil_module\.Payload.*nothing was run"):
        load_heads(crafted, name="heads.skops")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not readable"), (b"PK nonsense", "not readable"), (skops.io.dumps([1]), "holds one list")],
)
def test_what_is_not_a_file_of_heads_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        load_heads(content, name="heads.skops")


def test_a_damaged_tree_is_refused(head: HistGradientBoostingClassifier) -> None:
    with pytest.raises(BundleError, match="not readable as skops"):
        load_heads(_edited(dump_heads({"a": head}), {"__loader__": "NoSuchNode"}), name="heads.skops")
