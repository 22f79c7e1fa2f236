"""The entry point: sets up streams and signal handlers, then imports and runs the commands."""

import sys

from repurchase.cli.logs import json_lines, log_defect, requested_log_format
from repurchase.cli.process import exit_on_signals, open_closed_streams


def main() -> None:
    """Run the command line."""
    open_closed_streams()
    exit_on_signals()
    try:
        from repurchase.cli.app import main as run
    except Exception as fault:
        if requested_log_format(sys.argv[1:]) != "json":
            raise
        with json_lines():
            log_defect(fault)
        sys.exit(1)
    run()
