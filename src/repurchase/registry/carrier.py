"""A bundle as an MLflow model: the bundle's files, the shim that reads them, and no path of this machine."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import repurchase

__all__ = ["write_carrier"]

SHIM = Path(__file__).with_name("pyfunc_model.py")


def write_carrier(bundle: Path, folder: Path, *, run_id: str, model_id: str, metadata: Mapping[str, Any]) -> Path:
    """Write the folder that MLflow keeps for a model version.

    There is no input example (it would carry customers) and no column signature: MLflow would refuse whole-number
    amounts, categories and Polars frames, all of which `predict` takes.

    Parameters
    ----------
    bundle : Path
        A folder called ``bundle``, written by `save_bundle`; copied byte for byte.
    folder : Path
        Where; must not exist yet.
    run_id, model_id : str
        What MLflow calls the run and the model.
    metadata : mapping
        Shown with the model.

    Returns
    -------
    Path
        ``folder``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)  # MLflow 3.17 about itself
        warnings.filterwarnings("ignore", ".*input example was not provided", UserWarning)
        from mlflow import pyfunc
        from mlflow.models import Model, ModelSignature
        from mlflow.types.schema import ParamSchema, ParamSpec

        pyfunc.save_model(
            path=str(folder),
            python_model=str(SHIM),
            artifacts={"bundle": str(bundle)},
            signature=ModelSignature(params=ParamSchema([ParamSpec("as_of", "string", None)])),
            pip_requirements=[f"repurchase=={repurchase.__version__}"],
            mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id, metadata=dict(metadata)),
        )
    _forget_this_machine(folder)
    # MLflow copies our file with the rights it has where the package is installed.
    (folder / SHIM.name).chmod((folder / "MLmodel").stat().st_mode)
    return folder


def _forget_this_machine(folder: Path) -> None:
    """Shorten the two absolute paths in MLmodel; MLflow reads their last part only."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = SHIM.name
    flavor["artifacts"]["bundle"]["uri"] = flavor["artifacts"]["bundle"]["path"]
    model.save(str(folder / "MLmodel"))
