"""Where the command begins: what a signal does is settled before anything that takes long is imported."""

from repurchase.jobs.ending import end_at_once

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    end_at_once()
    from repurchase.cli import main as run

    run()
