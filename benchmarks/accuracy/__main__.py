"""``python -m benchmarks.accuracy [--log cdnow]... [--model repurchase]... [--out DIR] [--mlflow URI]``."""

import argparse
import json
import sys
import warnings
from pathlib import Path

from benchmarks.accuracy.logs import PROTOCOLS, available_logs, load_log
from benchmarks.accuracy.ours import NAME, repurchase
from benchmarks.accuracy.outlook import judge_dates, judge_ranges
from benchmarks.accuracy.peers import PEERS
from benchmarks.accuracy.run import Row, judge, summarise
from benchmarks.accuracy.table import about_this_run, document

CHECKOUT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
PREDICTORS = PEERS | {NAME: repurchase}


def main() -> None:
    arguments = _arguments()
    warnings.simplefilter("ignore")  # the peers' own: lifetimes and LightGBM warn at every fit
    predictors = {name: PREDICTORS[name] for name in arguments.model or PREDICTORS}
    rows: list[Row] = []
    ranges: list[Row] = []
    dates: list[Row] = []
    for name in arguments.log or available_logs():
        log = load_log(name)
        for row in judge(log, predictors):
            rows.append(row)
            print(f"{row['log']} {row['cutoff']} {row['model']}: log loss {row['log_loss']:.4f}", file=sys.stderr)
        if NAME in predictors:
            ranges.extend(judge_ranges(log))
            dates.extend(judge_dates(log))
    about = about_this_run()
    text = document(summarise(rows), ranges, dates, about)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "accuracy.md").write_text(text, encoding="utf-8")
    content = about | {"summary": summarise(rows), "cutoffs": rows, "ranges": ranges, "dates": dates}
    (arguments.out / "accuracy.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    if arguments.mlflow:
        _log_to_mlflow(arguments.mlflow, summarise(rows), about, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--log", action="append", choices=sorted(PROTOCOLS), help="default: all that are there")
    parser.add_argument("--model", action="append", choices=sorted(PREDICTORS), help="default: the peers and ours")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for accuracy.md and accuracy.json")
    store = f"sqlite:///{CHECKOUT / 'mlruns' / 'mlflow.db'}"
    parser.add_argument("--mlflow", metavar="URI", default=store, help="tracking store; '' for none")
    return parser.parse_args()


def _log_to_mlflow(uri: str, summary: list[Row], about: dict[str, object], folder: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("accuracy-benchmark")
    with mlflow.start_run(run_name=f"accuracy {about['commit']}"):
        mlflow.log_params({"commit": about["commit"], "python": about["python"], **about["versions"]})  # type: ignore[dict-item]
        for row in summary:
            means = {key: value for key, value in row.items() if isinstance(value, float)}
            mlflow.log_metrics({f"{row['log']}.{row['model']}.{key}": value for key, value in means.items()})
        mlflow.log_artifacts(str(folder))


if __name__ == "__main__":
    main()
