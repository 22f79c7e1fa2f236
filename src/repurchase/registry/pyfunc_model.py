"""MLflow model code, copied next to each bundle and run when MLflow loads it.

MLflow copies this file next to the bundle and runs it when the model is loaded (models from code, no pickle). It only
calls the installed package, so that a version is scored by the code that `repurchase score` uses.
"""

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from repurchase.registry.scoring import Scorer, load_scorer


class _OrdersToScores(PythonModel):
    """Orders in, one scored row per customer out."""

    scorer: Scorer

    def load_context(self, context: PythonModelContext) -> None:
        """Check and read the bundle."""
        self.scorer = load_scorer(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Score every customer in some orders."""
        as_of = (params or {}).get("as_of")
        return self.scorer(model_input, as_of=date.fromisoformat(as_of) if as_of else None).to_pandas()


set_model(_OrdersToScores())
