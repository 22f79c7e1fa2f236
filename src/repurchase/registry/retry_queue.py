"""Queue of what is to be logged to MLflow: one file per entry, logged by the next command that reaches the store."""

import hashlib
import logging
import math
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from repurchase.errors import DeliveryError, RepurchaseError
from repurchase.registry.store import EXPERIMENT, database_of, store_uri
from repurchase.storage.atomic_files import locked_folder, write_file
from repurchase.storage.json_files import json_bytes
from repurchase.storage.redaction import redact, redact_json
from repurchase.validation import TABLE, TEXT, Check, first_fault, text_matching

_logger = logging.getLogger("repurchase")

EntryKind = Literal["run", "registration", "alias change"]
_ENTRY_FILES: Mapping[EntryKind, str] = {
    "run": "{}.json",
    "registration": "registry/{}.json",
    "alias change": "registry/aliases-{}.json",
}
_QUEUE_FOLDERS = ("mlruns/pending", "outputs/pending")
"""The second takes what the first cannot."""

_ENTRY_SCHEMA = 1
LOCK_WAIT_SECONDS = 10.0


def write_entry(home: Path, kind: EntryKind, key: str, content: Mapping[str, Any]) -> tuple[Path, str]:
    """Write an entry to the first folder that can be written; also return why an earlier one could not."""
    why = ""
    for folder in _QUEUE_FOLDERS:
        path = home / folder / _ENTRY_FILES[kind].format(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, json_bytes({"schema": _ENTRY_SCHEMA, **content}, name=path.name))
        except (OSError, DeliveryError) as fault:
            reason = getattr(fault.__cause__ or fault, "strerror", None)
            why = f"{path.parent} cannot be written ({reason or 'no right or no space'})"
        else:
            return path, why
    raise DeliveryError(f"{why}.")


def pending_entries(home: Path, kind: EntryKind) -> list[Path]:
    """List the files of the entries of one kind, in the order in which versions count up."""
    pattern = _ENTRY_FILES[kind].format("*")
    found = [path for folder in _QUEUE_FOLDERS for path in (home / folder).glob(pattern)]
    if kind == "registration":
        found = [path for path in found if path.stem.isdecimal()]
    return sorted(found, key=lambda path: (len(path.stem), path.stem))


@contextmanager
def locked_queue(home: Path) -> Iterator[None]:
    """Hold the queue against other processes."""
    with ExitStack() as held:
        for folder in (home / name for name in _QUEUE_FOLDERS):
            if folder.is_dir():
                held.enter_context(locked_folder(folder, wait_seconds=LOCK_WAIT_SECONDS))
        yield


# Runs of commands


_RUN_SCHEMA = {
    "schema": Check(lambda value: value == _ENTRY_SCHEMA, str(_ENTRY_SCHEMA)),
    "run_key": text_matching("[0-9A-Za-z]+", "letters and digits"),
    "created_at": TEXT,
    "params": TABLE,
    "metrics": TABLE,
}


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """What is to be logged of a command's run. It names no customer."""

    source: str
    run_name: str
    created_at: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    seconds: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    experiment: str = EXPERIMENT
    subject: str | None = None
    """Runs about the same subject replace one another if their step rises."""
    step: int = 0
    run_key: str = field(default_factory=lambda: secrets.token_hex(16))
    tracked_at: str = field(default_factory=lambda: datetime.now(tz=UTC).isoformat())

    def record(self) -> dict[str, Any]:
        """Convert to JSON values, without passwords."""
        return {
            **vars(self),
            "schema": _ENTRY_SCHEMA,
            "params": {name: redact(str(value)) for name, value in self.params.items() if value is not None},
            "metrics": {k: float(v) for k, v in self.metrics.items() if v is not None and math.isfinite(v)},
            "artifacts": redact_json(self.artifacts),
            "tags": redact_json(self.tags),
        }

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """Read an entry, also of an earlier version; ValueError if it is none."""
        fault = first_fault(record, _RUN_SCHEMA)
        if fault:
            raise ValueError(f"'{fault.path}' {fault}")
        known = {
            "source": "repurchase score",
            "run_name": f"score {record['params'].get('as_of', '')}".strip(),
            "seconds": record["metrics"].get("seconds", 0.0),
            "tracked_at": record["created_at"],
            **record,
        }
        return cls(**{item.name: known[item.name] for item in fields(cls) if item.name in known})


def _track_run(home: Path, entry: RunEntry, *, seconds: float) -> str | None:
    """Log a run to MLflow within a stated time, or leave it to be logged later. Call it after delivery."""
    if seconds <= 0:
        return None
    home = home.resolve()
    try:
        path, why = write_entry(home, "run", entry.run_key, entry.record())
    except RepurchaseError as fault:
        return log_and_return_warning(f"This run is not in MLflow, and could not be kept to be logged later: {fault}")
    database = database_of(store_uri(home))
    if not why and database is not None and not database.is_file():
        why = "there is no MLflow store in the home folder"
    why = why or _log_in_subprocess(home, seconds)
    if not path.exists():
        return None
    return log_and_return_warning(
        f"This run is not in MLflow yet: {why.rstrip('.')}. It is kept in {path.relative_to(home)}; the next train, "
        "score, monitor or campaign that reaches the store logs it."
    )


def log_and_return_warning(message: str) -> str:
    """Log a warning, and hand it back."""
    _logger.warning("%s", message)
    return message


_WITHHELD_VARIABLES = ("REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE", "PGPASSWORD", "PGPASSFILE")
"""What the process that logs has no need to know."""


def _log_in_subprocess(home: Path, seconds: float) -> str:
    """Log the queue in a process of its own, which is ended when its time is over; return why it failed."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "repurchase.registry.tracking", str(home), str(seconds)]
    environment = {name: value for name, value in os.environ.items() if name not in _WITHHELD_VARIABLES}
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"the store did not answer within {seconds:g} seconds"
    except OSError as fault:
        return f"no process could be started to log it ({fault.strerror or type(fault).__name__})"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if done.returncode == 2 and lines else f"the process that logs it ended with {done.returncode}"


# What is logged of each command


CAMPAIGN_EXPERIMENT = "repurchase-campaigns"
_MAX_TAG_LENGTH = 500


def columns_param(orders: Mapping[str, Any]) -> str | None:
    """Describe in one line which column of an export was read as what."""
    roles = (orders.get("reading") or {}).get("roles") or []
    return " ".join(f"{role['role']}={role['column']}" for role in roles if role["column"]) or None


def track_scoring(home: Path, run: Mapping[str, Any], *, seconds: float) -> str | None:
    """Log a scoring run within a stated time; return the warning if it is not in MLflow yet."""
    orders, cleaning = run.get("orders") or {}, run.get("cleaning") or {}
    counts, drift = run.get("counts") or {}, run.get("drift") or {}
    set_aside = [row.get("rows", 0) for row in cleaning.get("reasons") or () if row.get("treatment") == "set_aside"]
    elapsed = round(sum((run.get("timings_seconds") or {}).values()), 3)
    entry = RunEntry(
        source="repurchase score",
        run_name=f"score {run.get('as_of') or ''}".strip(),
        created_at=str(run.get("created_at")),
        params={
            "model_version": run.get("model_version"),
            "as_of": run.get("as_of"),
            "data_digest": orders.get("digest"),
            "layout": orders.get("layout"),
            "columns": columns_param(orders),
            "repurchase_version": run.get("repurchase_version"),
        },
        metrics={
            "customers": counts.get("asked"),
            "customers_scored": counts.get("scored"),
            "customers_no_purchases": counts.get("no_purchases"),
            "rows": cleaning.get("n_raw"),
            "rows_set_aside": sum(set_aside),
            "seconds": elapsed,
            "drift/psi_max": drift.get("psi_max"),
            "drift/drifted": float(bool(drift.get("drifted"))) if drift.get("known") else None,
        },
        seconds=elapsed,
    )
    return _track_run(home, entry, seconds=seconds)


def track_plan(home: Path, plan: Mapping[str, Any], *, seconds: float) -> str | None:
    """Log a planned campaign; see `track_scoring`."""
    power, expected = plan["power"], plan["expected"]
    metrics = {
        **{f"candidates/{name}": value for name, value in plan["candidates"].items()},
        "power/reached": power["reached_power"],
        "power/without_scores": power["without_scores"]["reached_power"],
        "power/explained_by_scores": power["explained_by_scores"],
        "power/detectable_points": power["detectable_points"],
        "power/base_share": power["base_share"],
        "expected/buyers_more": expected["buyers_more"],
        **_interval_metrics({f"expected/{name}": expected.get(name) for name in ("sales", "cost", "profit")}),
        "break_even_points": plan["break_even_points"],
    }
    entry = _campaign_entry("plan", plan, plan, metrics, tags={"can_tell": _flag_text(power["enough"])})
    return _track_run(home, entry, seconds=seconds)


def track_measurement(
    home: Path, plan: Mapping[str, Any], measured: Mapping[str, Any], *, seconds: float
) -> str | None:
    """Log the measurement of a campaign; see `track_scoring`.

    Measured again, it is the same run, a step further. Counted from another day, it is another run: neither replaces
    the other.
    """
    uplift, totals = measured["repurchase"]["adjusted"], measured["totals"] or {}
    intervals = {
        "uplift/points": uplift,
        "uplift/unadjusted_points": measured["repurchase"]["unadjusted"],
        "sales": totals.get("sales"),
        "profit": totals.get("profit"),
        "return_on_spend": measured["return_on_spend"],
    }
    metrics = {
        "observed_days": measured["observed_days"],
        "uplift/p_value": uplift["p_value"],
        "needed_customers": measured["needed_customers"],
        "cost": totals.get("cost"),
        **{f"bought/{name}": group["share_bought"] for name, group in measured["groups"].items()},
        **_interval_metrics(intervals),
    }
    tags = {
        "can_tell": _flag_text(measured["is_over"] and uplift["can_tell"]),
        "is_over": _flag_text(measured["is_over"]),
        "observed_until": measured["observed_until"],
    }
    return _track_run(home, _campaign_entry("measure", plan, measured, metrics, tags=tags), seconds=seconds)


def _campaign_entry(
    step: Literal["plan", "measure"],
    plan: Mapping[str, Any],
    record: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    tags: Mapping[str, str],
) -> RunEntry:
    campaign = str(plan["campaign"])[:_MAX_TAG_LENGTH]
    return RunEntry(
        experiment=CAMPAIGN_EXPERIMENT,
        source=f"repurchase campaign {step}",
        run_name=f"{step} {campaign}",
        created_at=record["created_at"],
        params={
            "day": record["day"],
            "horizon_days": plan["horizon_days"],
            **plan["terms"],
            **{f"customers_{name}": plan["arms"][name] for name in ("treatment", "control")},
            "effect_points": plan["power"]["effect_points"],
            "assumed_uplift_points": plan["assumption"]["uplift_points"],
            "assumption": plan["assumption"]["source"],
            "plan_digest": plan["digest"],
            "repurchase_version": plan["repurchase_version"],
        },
        metrics=metrics,
        tags={"campaign": campaign, "model_version": str(plan["scores"]["model_version"]), **tags},
        artifacts={f"{'campaign' if step == 'plan' else 'measured'}.json": _without_source(record)},
        subject=hashlib.sha256(f"{step} {plan['digest']} {record['day']}".encode()).hexdigest(),
        step=int(record.get("observed_days", 0)),
    )


def _interval_metrics(intervals: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    """Put each value under its name, and the ends of its interval next to it."""
    return {
        name if end == "value" else f"{name}_{end}": interval[end]
        for name, interval in intervals.items()
        if interval
        for end in ("value", "low", "high")
    }


def _without_source(record: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where the orders are, whose folders may name the shop."""
    orders = {name: value for name, value in record.get("orders", {}).items() if name not in ("source", "files")}
    return {**record, **({"orders": orders} if orders else {})}


def _flag_text(flag: bool) -> str:
    return "true" if flag else "false"
