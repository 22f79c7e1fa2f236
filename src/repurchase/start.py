"""Where the command begins: what a signal does is settled before anything that takes long is imported."""

import sys

from repurchase.jobs.ending import end_at_once
from repurchase.jobs.logs import asked_format, json_lines, log_defect
from repurchase.jobs.streams import open_closed_streams

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    open_closed_streams()
    end_at_once()
    try:
        from repurchase.cli import main as run
    except Exception as fault:
        if asked_format(sys.argv[1:]) != "json":
            raise
        with json_lines():
            log_defect(fault)
        sys.exit(1)
    run()
