"""Score with a bundle, and write a bundle as an MLflow model."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import repurchase
from repurchase.registry.bundle import CLEANING_SETTINGS, load_bundle
from repurchase.schemas import Frame, as_polars
from repurchase.settings import Settings

if TYPE_CHECKING:
    from repurchase.models.model import RepurchaseModel


_PYFUNC_SCRIPT = Path(__file__).with_name("pyfunc_model.py")


def write_pyfunc_model(bundle: Path, folder: Path, *, run_id: str, model_id: str, metadata: Mapping[str, Any]) -> Path:
    """Write the folder that MLflow keeps for a model version.

    There is no input example (it would carry customers) and no column signature: MLflow would refuse whole-number
    amounts, categories and Polars frames, all of which `predict` takes.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)  # MLflow 3.17 about itself
        warnings.filterwarnings("ignore", ".*input example was not provided", UserWarning)
        from mlflow import pyfunc
        from mlflow.models import Model, ModelSignature
        from mlflow.types.schema import ParamSchema, ParamSpec

        pyfunc.save_model(
            path=str(folder),
            python_model=str(_PYFUNC_SCRIPT),
            artifacts={"bundle": str(bundle)},
            signature=ModelSignature(params=ParamSchema([ParamSpec("as_of", "string", None)])),
            pip_requirements=[f"repurchase=={repurchase.__version__}"],
            mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id, metadata=dict(metadata)),
        )
    _remove_absolute_paths(folder)
    # MLflow copies our file with the rights it has where the package is installed.
    (folder / _PYFUNC_SCRIPT.name).chmod((folder / "MLmodel").stat().st_mode)
    return folder


def _remove_absolute_paths(folder: Path) -> None:
    """Shorten the two absolute paths in MLmodel; MLflow reads their last part only."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = _PYFUNC_SCRIPT.name
    flavor["artifacts"]["bundle"]["uri"] = flavor["artifacts"]["bundle"]["path"]
    model.save(str(folder / "MLmodel"))


_CLEAN_ORDERS_MARKER = "sale_date"


@dataclass(frozen=True)
class Scorer:
    """A model, with the settings by which orders are cleaned for it."""

    model: "RepurchaseModel"
    settings: Settings

    def __call__(self, orders: Frame, *, as_of: date | None = None) -> pl.DataFrame:
        """Score every customer."""
        frame = as_polars(orders)
        if _CLEAN_ORDERS_MARKER not in frame.columns:
            from repurchase.orders.pipeline import clean_orders

            frame = clean_orders(frame, settings=self.settings).orders
        return self.model.predict(frame, as_of)


def load_scorer(folder: Path) -> Scorer:
    """Load the model of a bundle."""
    loaded = load_bundle(folder)
    from repurchase.models.model import RepurchaseModel

    return Scorer(RepurchaseModel.from_state(loaded.state), _settings(loaded.manifest.get("settings", {})))


def _settings(kept: Mapping[str, Any]) -> Settings:
    return Settings(**{name: kept[name] for name in CLEANING_SETTINGS if name in kept})
