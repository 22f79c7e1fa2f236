"""Take customers out of everything that is kept in a home folder; order sources are not touched."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from repurchase.errors import DeliveryError, InputError, first_few
from repurchase.jobs.forgetting.campaigns import forget_in_campaigns
from repurchase.jobs.forgetting.files import draws_purchases, ids_in_page, ids_in_table, language_of, made_from
from repurchase.jobs.forgetting.lists import (
    Made,
    customers_of,
    folders_of_lists,
    forget_in_folder,
    forget_in_list,
    other_tables,
)
from repurchase.jobs.forgetting.outputs import Output, forget_in_output, order_files, outputs_of
from repurchase.jobs.forgetting.places import Places, clear_killed, search_home
from repurchase.jobs.forgetting.wanted import Wanted, ids_given, under_all_names
from repurchase.jobs.forgetting.words import counted, done, refusals, shown
from repurchase.jobs.lists.folder import RECORD
from repurchase.report.page import write_report
from repurchase.report.reading import gather, one_run, read_run, read_scores
from repurchase.settings import Settings
from repurchase.storage.delivery import FORMATS
from repurchase.storage.publishing import real_path

__all__ = ["forget"]

SOURCES_STAY = (
    "Order sources were not touched: as long as they hold these customers, the next scores hold them again. "
    "models/ and mlruns/ hold no customers."
)


def forget(
    customers: Iterable[str], *, settings: Settings, from_file: Path | None = None, dry_run: bool = False
) -> Iterator[str]:
    """Take customers out of scores, set-aside rows, lists, pages and records.

    Parameters
    ----------
    customers : iterable of str
        Ids, in any spelling that cleaning knows; e-mail addresses too, where lists tell whose they are.
    settings : Settings
        ``settings.home`` is searched; ``settings.columns`` may name the column of ids in lists.
    from_file : Path, optional
        A customer list with more ids.
    dry_run : bool
        Whether to look only.

    Yields
    ------
    str
        What was done, a line per file, as it is done.

    Raises
    ------
    InputError
        If nobody is named, an id is empty, outputs are hashed with a key that is not there, or a file of ours cannot
        be read; or, at the end, if somebody was found nowhere. Those who were found are erased then.
    DeliveryError
        If a file cannot be written, or another run is writing it; or, at the end, if customers may remain in places
        that could not be reached or are not changed. What the lines say is done.
    """
    home = settings.home
    if not home.is_dir():
        raise InputError(f"--home {home}: no such folder.")
    named = ids_given(customers, from_file, settings)
    places = search_home(home)
    left_behind = places.left
    for left, out in left_behind:
        with refusals(left):
            yield from clear_killed(left, out, home, dry_run=dry_run)
    if left_behind:
        places = search_home(home)
    outputs, unknown = outputs_of(places)
    made = folders_of_lists(places)
    owners = _owners(named, outputs, made)
    ids = named.union(*owners.values())
    records = {output.record: output.run for output in outputs} | {at / RECORD: found for at, found in made.items()}
    wanted = under_all_names(ids, records)
    wanted.found.update(owners)
    yield from (wanted.may_remain(line) for line in (*places.unreached, *unknown))
    yield from (f"{one}: the e-mail address of customer {first_few(sorted(whose))}." for one, whose in owners.items())
    yield from _forget_everywhere(places, wanted, outputs, made, settings, from_file=from_file, dry_run=dry_run)
    yield from _end(wanted, named, outputs, home, cleared=bool(left_behind) and not dry_run, dry_run=dry_run)


def _forget_everywhere(
    places: Places,
    wanted: Wanted,
    outputs: list[Output],
    made: Made,
    settings: Settings,
    *,
    from_file: Path | None,
    dry_run: bool,
) -> Iterator[str]:
    """Go through one kind of file after the other."""
    home = places.home
    pages = [path for path in places.named(".html") if made_from(path) is not None]
    for output in outputs:
        yield from forget_in_output(output, wanted, home, dry_run=dry_run)
    for page in pages:
        yield from _forget_in_page(page, wanted, home, dry_run=dry_run)
    for folder, record in made.items():
        yield from forget_in_folder(folder, record, wanted, home, dry_run=dry_run)
    reached: list[Path] = []
    for path, found in forget_in_campaigns(places, wanted, dry_run=dry_run):
        wanted.saw(found)
        reached.append(path)
        yield f"{shown(path, home)}: {counted(sum(found.values()), 'row')} {done('removed', dry_run)}."
    sent = _lists(outputs)
    for path in sent:  # last: they are not ours, and may be anything by now
        yield from forget_in_list(path, wanted, places, columns=settings.columns, dry_run=dry_run)
    ours = [path for output in outputs for path in (output.scores, output.quarantine)]
    known = [*reached, *sent, *ours, *([from_file] if from_file else [])]
    columns = {output.column for output in outputs}
    yield from other_tables(places, wanted, made, columns=columns, known=known, sources=order_files(places))


def _end(
    wanted: Wanted, named: frozenset[str], outputs: Iterable[Output], home: Path, *, cleared: bool, dry_run: bool
) -> Iterator[str]:
    missing = sorted(named - wanted.found)
    tables = sorted({output.table for output in outputs if output.table})
    untouched = [wanted.may_remain(f"{table} was not touched: delete the rows there yourself.") for table in tables]
    if not wanted.found and not wanted.remaining:
        who = first_few(missing)
        raise InputError(
            f"nobody was found, nothing{' else' if cleared else ''} was erased: below {home} no file names {who}. "
            "Ids are spelled as in the orders; an e-mail address must be an id or stand in lists.",
            withheld=who,
        )
    addresses = [one for one in missing if "@" in one]
    if len(addresses) < len(missing):
        yield f"Found nowhere: {first_few(one for one in missing if one not in addresses)}."
    yield from (f"{one} is neither a customer id nor an e-mail address in lists." for one in addresses)
    yield from untouched
    yield SOURCES_STAY
    if dry_run:
        yield "This was a dry run: nothing was changed."
    elif wanted.remaining:
        raise DeliveryError(
            f"these customers may remain in {counted(len(wanted.remaining), 'place')} that could not be reached or "
            f"are not changed: {first_few(wanted.remaining)} Everything else is done. Take them out there, then run "
            f"again.{f' {_unknown(missing, named)}: check the spelling.' if missing else ''}"
        )
    if missing:
        others = f"; the others {'would be' if dry_run else 'are'} erased" if len(missing) < len(named) else ""
        raise InputError(
            f"{_unknown(missing, named)} and may remain under another spelling{others}. Ids are spelled as in the "
            "orders: correct them and run again."
        )


def _unknown(missing: Collection[str], named: Collection[str]) -> str:
    return f"{len(missing):,} of {counted(len(named), 'name')} {'was' if len(missing) == 1 else 'were'} found nowhere"


def _owners(named: Collection[str], outputs: Iterable[Output], made: Made) -> dict[str, set[str]]:
    """Whose the e-mail addresses are that are no ids themselves, where lists tell."""
    addresses = {one for one in named if "@" in one}
    owners = customers_of(addresses, made)
    ids = {one for one, whose in owners.items() if one in whose}
    for output in outputs if owners else ():
        if output.scores.is_file():
            ids |= ids_in_table(output.scores, "customer_id", addresses).keys()
    return {one: whose for one, whose in sorted(owners.items()) if one not in ids}


def _lists(outputs: Iterable[Output]) -> list[Path]:
    """Lists that were sent with ``--customers`` and are still there."""
    paths = {str(output.run["list"]) for output in outputs if output.run.get("list")}
    return [Path(path) for path in sorted(paths) if Path(path).is_file()]


def _forget_in_page(page: Path, wanted: Wanted, home: Path, *, dry_run: bool) -> Iterator[str]:
    named = ids_in_page(page, wanted.ids.__contains__)
    if not named:
        return
    wanted.saw(named)
    source = made_from(page)
    candidates = [page.parent / f"{source}{ending}" for ending in FORMATS] if source else []
    scores = next((path for path in candidates if _are_scores(path)), None)
    if scores is not None:
        again = f"{done('made again', dry_run)} from {scores.name}"
        if draws_purchases(page):
            command = f"repurchase report {shown(scores, home)} --orders ORDERS --out {shown(page, home)}"
            again = f"{again}, without purchases; `{command}` draws them again"
        if not dry_run:
            write_report(scores, page, locale=language_of(page))
        yield f"{shown(page, home)}: {again}."
        return
    if not dry_run:
        with refusals(page):
            real_path(page).unlink()
            page.unlink(missing_ok=True)
    yield f"{shown(page, home)}: {done('removed', dry_run)}, since the scores it was made from are not there."


def _are_scores(path: Path) -> bool:
    try:
        one_run(gather(read_scores(path), read_run(path)[0]))
    except InputError:
        return False
    return True
