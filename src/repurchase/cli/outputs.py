"""Commands about what is made from scores: report, lists, forget."""

from pathlib import Path
from typing import Annotated

from repurchase.cli.options import (
    INPUT,
    OUTPUT,
    Columns,
    CommandGroup,
    DryRun,
    Home,
    IdColumn,
    Query,
    ScoresFile,
    Table,
    argument,
    locale_option,
    option,
)
from repurchase.cli.process import print_lines
from repurchase.errors import InputError
from repurchase.i18n.messages import translate

outputs_app = CommandGroup()


@outputs_app.command()
def report(
    scores: ScoresFile,
    *,
    out: Annotated[Path, option("The HTML page to write.")] = Path("report.html"),
    locale: Annotated[str, locale_option("Language of the page.")] = "en",
    orders: Annotated[str | None, option("The scored orders; adds all purchases, and products.")] = None,
    home: Home = Path(),
    columns: Columns = None,
    campaigns: Annotated[Path | None, option("Folder of campaign files; default that of the scores.", INPUT)] = None,
    query: Query = None,
    table: Table = None,
) -> None:
    """Write the report: one HTML page that opens offline.

    Repeat business, segments, customers to contact, campaigns, and how reliable the predictions are.
    """
    from repurchase.jobs.report import report as run
    from repurchase.settings import Settings
    from repurchase.sources.locations import parse_orders_source

    settings, source = Settings(home=home), None
    if orders is not None:
        settings = Settings.load(home, columns=columns)
        source = parse_orders_source(orders, query=query, table=table)
    else:
        options = {"--columns": columns, "--query": query, "--table": table}
        for name in (name for name, value in options.items() if value is not None):
            raise InputError(f"{name} requires --orders. Add --orders, or leave {name} out.")
    page = run(scores, out, settings=settings, locale=locale, campaigns=campaigns, orders=source)
    print_lines([translate("line.report", path=str(page))])


@outputs_app.command("lists")
def make_lists(
    scores: ScoresFile,
    *,
    out: Annotated[Path, option("Folder for the lists; earlier lists in it are replaced.")],
    contacts: Annotated[Path | None, option("Names, addresses and consent (CSV or Parquet).")] = None,
    budget: Annotated[float | None, option("Total budget; requires --cost-per-contact.")] = None,
    cost_per_contact: Annotated[float | None, option("Cost of one contact.")] = None,
    length: Annotated[int | None, option("Maximum number of customers.")] = None,
    home: Home = Path(),
    columns: Columns = None,
    contacted: Annotated[Path | None, option("Customers contacted before; with days if known.", INPUT)] = None,
    contacted_within_days: Annotated[
        int | None, option("Leave out if contacted so recently (default 14).", INPUT)
    ] = None,
    bought_within_hours: Annotated[int | None, option("Leave out if bought so recently (default 24).", INPUT)] = None,
    since: Annotated[Path | None, option("Earlier scores of this model; finds new risks.", INPUT)] = None,
    orders: Annotated[str | None, option("Orders with products; adds customers due for a refill.", INPUT)] = None,
    locale: Annotated[str | None, locale_option("Language and number format of the lists.", OUTPUT)] = None,
    mail_tool: Annotated[str | None, option("Whose column names.", OUTPUT, metavar="plain|klaviyo|mailchimp")] = None,
) -> None:
    """Write lists of customers to contact, one CSV per segment.

    Each row says why, what to do, by which channel, when, and how much a contact may cost.
    """
    from repurchase.jobs.lists import ListOptions, write_lists
    from repurchase.marketing.lists import ListLimit, list_settings
    from repurchase.settings import Settings

    settings = Settings.load(home, columns=columns)
    rules = list_settings(
        settings.lists,
        locale=locale,
        mail_tool=mail_tool,
        bought_within_hours=bought_within_hours,
        contacted_within_days=contacted_within_days,
    )
    limit = ListLimit(budget=budget, cost_per_contact=cost_per_contact, length=length)
    options = ListOptions(contacts=contacts, contacted=contacted, since=since, limit=limit, orders=orders)
    written = write_lists(scores, out=out, options=options, rules=rules, settings=settings)
    print_lines(written.summary)


@outputs_app.command()
def forget(
    customers: Annotated[list[str] | None, argument("Ids as in the orders, or e-mail addresses.", "CUSTOMERS")] = None,
    *,
    from_file: Annotated[Path | None, option("List of ids to erase (CSV or Parquet).")] = None,
    dry_run: DryRun = False,
    home: Home = Path(),
    columns: IdColumn = None,
) -> None:
    """Erase customers from all outputs.

    Removes them from scores, set-aside rows, lists and pages in the home folder. The orders themselves are not changed.
    """
    from repurchase.jobs.forget import forget_customers
    from repurchase.settings import Settings

    settings = Settings.load(home, columns=columns)
    print_lines(forget_customers(customers or [], settings=settings, from_file=from_file, dry_run=dry_run))
