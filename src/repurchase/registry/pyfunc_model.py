"""The MLflow face of a bundle: what ``mlflow.pyfunc.load_model("models:/repurchase@champion")`` hands out.

MLflow copies this file beside the bundle and runs it when the model is loaded (models from code, no pickle). It only
calls the installed package, so that a version is scored by the code that `repurchase score` uses.
"""

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from repurchase.registry.scoring import Scorer, load_scorer


class OrdersToScores(PythonModel):
    """Orders in, one scored row per customer out."""

    scorer: Scorer

    def load_context(self, context: PythonModelContext) -> None:
        """Check and read the bundle.

        Parameters
        ----------
        context : PythonModelContext
            Says where MLflow put the bundle.
        """
        self.scorer = load_scorer(Path(context.artifacts["bundle"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Score every customer in some orders.

        Parameters
        ----------
        context : PythonModelContext
            Not used; the bundle is loaded already.
        model_input : DataFrame
            Orders, as exported or as `clean_orders` returned them; a Polars frame or an Arrow table does as well.
        params : dict, optional
            ``as_of``: the last day observed, ISO; without it the day of the last order.

        Returns
        -------
        DataFrame
            The scores (see ``tables.scores_table``).
        """
        as_of = (params or {}).get("as_of")
        return self.scorer(model_input, as_of=date.fromisoformat(as_of) if as_of else None).to_pandas()


set_model(OrdersToScores())
