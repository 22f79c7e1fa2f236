"""Write runs and registrations to be logged to MLflow, and start the process that logs them."""

import hashlib
import logging
import math
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repurchase.errors import DeliveryError, RepurchaseError
from repurchase.registry.store import EXPERIMENT, database_of, store_uri
from repurchase.storage.atomic_files import write_file
from repurchase.storage.json_files import json_bytes
from repurchase.storage.redaction import redact, redact_json

logger = logging.getLogger("repurchase")


def columns_param(orders: Mapping[str, Any]) -> str | None:
    """Say in one line which column of an export was read as what."""
    roles = (orders.get("reading") or {}).get("roles") or []
    return " ".join(f"{role['role']}={role['column']}" for role in roles if role["column"]) or None


_REGISTRATION_SCHEMA = 1
REGISTRATION_FOLDERS = ("mlruns/pending/registry", "outputs/pending/registry")
ALIAS_CHANGE_PREFIX = "aliases-"
REGISTRATION_LOCK_WAIT_SECONDS = 10.0


def write_registration(home: Path, version: str, training: Mapping[str, Any]) -> Path:
    """Keep what is to be registered of a version beside its bundle."""
    return _write_registration_file(
        home, f"{version}.json", {"schema": _REGISTRATION_SCHEMA, "version": version, "training": training}
    )


def write_alias_change(home: Path, tags: Mapping[str, Mapping[str, str]]) -> Path:
    """Keep that aliases in ``models/aliases.json`` were changed without MLflow."""
    return _write_registration_file(
        home, f"{ALIAS_CHANGE_PREFIX}{secrets.token_hex(8)}.json", {"schema": _REGISTRATION_SCHEMA, "tags": tags}
    )


def _write_registration_file(home: Path, name: str, record: Mapping[str, Any]) -> Path:
    content = json_bytes(record, name=name)
    last: DeliveryError | None = None
    for place in REGISTRATION_FOLDERS:
        path = home / place / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, content)
        except OSError as fault:
            last = DeliveryError(f"{path.parent} cannot be written: {fault.strerror}.")
        except DeliveryError as fault:
            last = fault
        else:
            return path
    raise last or DeliveryError(f"{home} cannot be written.")


def pending_registrations(home: Path) -> dict[str, Path]:
    """Find the versions that wait to be registered."""
    found = [path for place in REGISTRATION_FOLDERS for path in (home / place).glob("*.json") if path.stem.isdecimal()]
    return {path.stem: path for path in sorted(found, key=lambda path: int(path.stem))}


RUN_ENTRY_SCHEMA = 1
_PENDING_FOLDERS = ("mlruns/pending", "outputs/pending")
RUN_KEY_TAG = "run_key"
SUBJECT_TAG, TRACKED_AT_TAG, STEP_TAG = "subject", "tracked_at", "step"
RUN_LOCK_WAIT_SECONDS = 10.0


_WITHHELD_VARIABLES = ("REPURCHASE_ID_KEY", "REPURCHASE_ID_KEY_FILE", "PGPASSWORD", "PGPASSFILE")
"""What the process that logs has no need to know."""


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
    step: int = 0

    def record(self) -> dict[str, Any]:
        """Say it in JSON."""
        return {
            "schema": RUN_ENTRY_SCHEMA,
            RUN_KEY_TAG: secrets.token_hex(16),
            TRACKED_AT_TAG: datetime.now(tz=UTC).isoformat(),
            **vars(self),
            "params": {name: redact(str(value)) for name, value in self.params.items() if value is not None},
            "metrics": {k: float(v) for k, v in self.metrics.items() if v is not None and math.isfinite(v)},
            "artifacts": redact_json(self.artifacts),
            "tags": redact_json(self.tags),
        }


def _track_run(home: Path, entry: RunEntry, *, seconds: float) -> str | None:
    """Log a run to MLflow within a stated time, or leave it to be logged later. Call it after delivery."""
    if seconds <= 0:
        return None
    home = home.resolve()
    try:
        path, why_not_there = _write_run_entry(home, entry.record())
    except RepurchaseError as fault:
        return log_and_return_warning(f"This run is not in MLflow, and could not be kept to be logged later: {fault}")
    why = why_not_there or _log_in_subprocess(home, seconds)
    if not path.exists():
        return None
    where = path.relative_to(home)
    return log_and_return_warning(
        f"This run is not in MLflow yet: {why.rstrip('.')}. It is kept in {where}; the next train, score, monitor or "
        "campaign that reaches the store logs it."
    )


def track_scoring(home: Path, run: Mapping[str, Any], *, seconds: float) -> str | None:
    """Log a scoring run; see `track`."""
    return _track_run(home, _scoring_run_entry(run), seconds=seconds)


def log_and_return_warning(words: str) -> str:
    logger.warning("%s", words)
    return words


def _scoring_run_entry(run: Mapping[str, Any]) -> RunEntry:
    orders, cleaning = run.get("orders") or {}, run.get("cleaning") or {}
    counts, drift = run.get("counts") or {}, run.get("drift") or {}
    aside = [why.get("rows", 0) for why in cleaning.get("reasons") or () if why.get("treatment") == "set_aside"]
    took = round(sum((run.get("timings_seconds") or {}).values()), 3)
    metrics = {
        "customers": counts.get("asked"),
        "customers_scored": counts.get("scored"),
        "customers_no_purchases": counts.get("no_purchases"),
        "rows": cleaning.get("n_raw"),
        "rows_set_aside": sum(aside),
        "seconds": took,
        "drift/psi_max": drift.get("psi_max"),
        "drift/drifted": float(bool(drift.get("drifted"))) if drift.get("known") else None,
    }
    params = {
        "model_version": run.get("model_version"),
        "as_of": run.get("as_of"),
        "data_digest": orders.get("digest"),
        "layout": orders.get("layout"),
        "columns": columns_param(orders),
        "repurchase_version": run.get("repurchase_version"),
    }
    return RunEntry(
        source="repurchase score",
        run_name=f"score {run.get('as_of') or ''}".strip(),
        created_at=str(run.get("created_at")),
        params=params,
        metrics=metrics,
        seconds=took,
    )


def _write_run_entry(home: Path, record: Mapping[str, Any]) -> tuple[Path, str]:
    """Write a record where it can be; say why it cannot be logged, if that is plain without asking MLflow."""
    why = ""
    name = f"{record[RUN_KEY_TAG]}.json"
    for place in _PENDING_FOLDERS:
        path = home / place / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, json_bytes(record, name=name))
        except (OSError, DeliveryError) as fault:
            why = f"{home / place} cannot be written ({getattr(fault, 'strerror', None) or 'no right or no space'})"
            continue
        database = database_of(store_uri(home))
        is_there = database is None or database.is_file()
        return path, why or ("" if is_there else "there is no MLflow store in the home folder")
    raise DeliveryError(f"{why}.")


def _log_in_subprocess(home: Path, seconds: float) -> str:
    """Log in a process of its own, and end it when its time is over; say what it said last."""
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
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if done.returncode == 2 and said else f"what logs it ended with {done.returncode}"


def pending_run_files(home: Path) -> list[Path]:
    """Runs that wait to be logged."""
    return sorted(path for place in _PENDING_FOLDERS for path in (home / place).glob("*.json"))


CAMPAIGN_EXPERIMENT = "repurchase-campaigns"
_MAX_TAG_LENGTH = 500
_CampaignRecord = Mapping[str, Any]


def track_plan(home: Path, plan: _CampaignRecord, *, seconds: float) -> str | None:
    """Log a planned campaign; see `pending.track`."""
    power, found = plan["power"], plan["expected"]
    metrics = {
        **{f"candidates/{name}": value for name, value in plan["candidates"].items()},
        "power/reached": power["reached_power"],
        "power/without_scores": power["without_scores"]["reached_power"],
        "power/explained_by_scores": power["explained_by_scores"],
        "power/detectable_points": power["detectable_points"],
        "power/base_share": power["base_share"],
        "expected/buyers_more": found["buyers_more"],
        **_interval_metrics({f"expected/{name}": found.get(name) for name in ("sales", "cost", "profit")}),
        "break_even_points": plan["break_even_points"],
    }
    return _track_run(
        home,
        _campaign_entry("plan", plan, plan, metrics, tags={"can_tell": _flag_text(power["enough"])}),
        seconds=seconds,
    )


def track_measurement(home: Path, plan: _CampaignRecord, measured: _CampaignRecord, *, seconds: float) -> str | None:
    """Log what a campaign brought; see `pending.track`. Measured again, it is the same run, a step further.

    Counted from another day, it is another run: neither takes the other's place.
    """
    uplift, totals = measured["repurchase"]["adjusted"], measured["totals"] or {}
    plain = measured["repurchase"]["unadjusted"]
    metrics = {
        "observed_days": measured["observed_days"],
        "uplift/p_value": uplift["p_value"],
        "needed_customers": measured["needed_customers"],
        "cost": totals.get("cost"),
        **{f"bought/{arm}": group["share_bought"] for arm, group in measured["groups"].items()},
        **_interval_metrics(
            {
                "uplift/points": uplift,
                "uplift/unadjusted_points": plain,
                "sales": totals.get("sales"),
                "profit": totals.get("profit"),
                "return_on_spend": measured["return_on_spend"],
            }
        ),
    }
    tags = {
        "can_tell": _flag_text(measured["is_over"] and uplift["can_tell"]),
        "is_over": _flag_text(measured["is_over"]),
        "observed_until": measured["observed_until"],
    }
    return _track_run(home, _campaign_entry("measure", plan, measured, metrics, tags=tags), seconds=seconds)


def _campaign_entry(
    what: str, plan: _CampaignRecord, record: _CampaignRecord, metrics: Mapping[str, Any], *, tags: Mapping[str, str]
) -> RunEntry:
    arms = plan["arms"]
    params = {
        "day": record["day"],
        "horizon_days": plan["horizon_days"],
        **plan["terms"],
        **{f"customers_{arm}": arms[arm] for arm in ("treatment", "control")},
        "effect_points": plan["power"]["effect_points"],
        "assumed_uplift_points": plan["assumption"]["uplift_points"],
        "assumption": plan["assumption"]["source"],
        "plan_digest": plan["digest"],
        "repurchase_version": plan["repurchase_version"],
    }
    campaign = str(plan["campaign"])[:_MAX_TAG_LENGTH]
    return RunEntry(
        experiment=CAMPAIGN_EXPERIMENT,
        source=f"repurchase campaign {what}",
        run_name=f"{what} {campaign}",
        created_at=record["created_at"],
        params=params,
        metrics=metrics,
        tags={"campaign": campaign, "model_version": str(plan["scores"]["model_version"]), **tags},
        artifacts={f"{'campaign' if what == 'plan' else 'measured'}.json": _without_source(record)},
        subject=hashlib.sha256(f"{what} {plan['digest']} {record['day']}".encode()).hexdigest(),
        step=int(record.get("observed_days", 0)),
    )


def _interval_metrics(found: Mapping[str, Mapping[str, float] | None]) -> dict[str, float]:
    """Values under their name, the ends of their ranges beside them."""
    return {
        name if end == "value" else f"{name}_{end}": told[end]
        for name, told in found.items()
        if told
        for end in ("value", "low", "high")
    }


def _without_source(record: _CampaignRecord) -> dict[str, Any]:
    """A record without the orders' place, whose folders may say whose they are."""
    orders = {name: value for name, value in record.get("orders", {}).items() if name not in ("source", "files")}
    return {**record, **({"orders": orders} if orders else {})}


def _flag_text(fact: bool) -> str:
    return "true" if fact else "false"
