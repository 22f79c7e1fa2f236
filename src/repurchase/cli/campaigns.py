"""`repurchase campaign plan|measure` and `repurchase economics`: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from repurchase.cli.commands import CommandGroup, Home, OrderOptions, parse_columns, parse_day, with_order_options

campaign_app = CommandGroup(help="Campaigns: plan one, measure what it brought.")
economics_app = CommandGroup()

Scores = Annotated[Path, typer.Argument(help="Scores that `repurchase score` wrote.")]
Horizon = Annotated[int | None, typer.Option(help="Days in which purchases count: one of the scores'.")]
Margin = Annotated[float | None, typer.Option(help="Share of sales left after the goods are paid, such as 0.3.")]
OfferCost = Annotated[float, typer.Option(help="Money per customer reached who buys: discount, gift, postage.")]


@campaign_app.command("plan")
def plan_campaign(
    scores: Scores,
    out: Annotated[Path, typer.Option(help="The campaign file, .json, or a folder for it.")],
    *,
    home: Home = Path(),
    name: Annotated[str | None, typer.Option(help="The campaign's name; it decides the lot.")] = None,
    day: Annotated[str | None, typer.Option(help="Day it goes out, YYYY-MM-DD; default the scores' day.")] = None,
    list_file: Annotated[Path | None, typer.Option("--list", help="Choose among these (CSV or Parquet).")] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Choose in this segment; may be given often.")] = None,
    budget: Annotated[float | None, typer.Option(help="Money there is for contacts and offers.")] = None,
    cost_per_contact: Annotated[float, typer.Option(help="Money per customer reached.")] = 0.0,
    offer_cost: OfferCost = 0.0,
    margin: Margin = None,
    horizon: Horizon = None,
    effect: Annotated[
        float | None, typer.Option(help="Uplift to be seen, in points: 2 if 2 more in a hundred should buy.")
    ] = None,
    uplift: Annotated[float | None, typer.Option(help="Uplift assumed, in points; default --effect.")] = None,
    past: Annotated[list[Path] | None, typer.Option(help="A measured campaign, *.measured.json; often.")] = None,
    power: Annotated[float, typer.Option(help="Probability of seeing that effect.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Probability of a false alarm.")] = 0.05,
    control_share: Annotated[
        float | None, typer.Option(help="Share held out; default as few as the effect needs. 0: cannot be measured.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the lot.")] = 0,
    columns: Annotated[str | None, typer.Option(help="The list's column of ids: customer_id=Kunde.")] = None,
) -> None:
    """Choose whom to reach, hold out a control group by lot, and say what to expect."""
    from repurchase.jobs.campaign_planning import CampaignOptions, planned_lines, prepare_campaign
    from repurchase.marketing.economics import CampaignTerms
    from repurchase.settings import Settings

    asked = CampaignOptions(
        name=name,
        day=parse_day(day, option="--day"),
        list_file=list_file,
        segments=segment or (),
        horizon_days=horizon,
        effect_points=effect,
        uplift_points=uplift,
        past=past or (),
        power=power,
        alpha=alpha,
        control_share=control_share,
        seed=seed,
    )
    terms = CampaignTerms(cost_per_contact=cost_per_contact, offer_cost=offer_cost, budget=budget)
    settings = Settings.load(home, columns=parse_columns(columns))
    made = prepare_campaign(scores, out, settings=settings, asked=asked, margin=margin, terms=terms)
    _print_lines(planned_lines(made.record, made.path))


@campaign_app.command("measure")
@with_order_options
def measure_campaign(
    told: OrderOptions,
    campaign: Annotated[Path, typer.Argument(help="The campaign file, or its folder.")],
    *,
    from_day: Annotated[
        str | None, typer.Option("--from", help="Day it went out, YYYY-MM-DD, if not as planned.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="*.measured.json, or a folder for it; default beside the campaign.")
    ] = None,
) -> None:
    """Say what a campaign brought, against those held out, and whether that can be told."""
    from repurchase.jobs.campaign_measurement import measured_lines, run_measurement

    begun = parse_day(from_day, option="--from")
    made = run_measurement(campaign, told.source, settings=told.settings(), from_day=begun, as_of=told.as_of, out=out)
    _print_lines(measured_lines(made.record, made.path))


@economics_app.command()
def economics(
    scores: Scores,
    *,
    out: Annotated[Path | None, typer.Option(help="A .json file; a table (CSV) and a picture lie beside it.")] = None,
    margin: Margin = None,
    contact_cost: Annotated[float, typer.Option(help="Money per customer reached.")] = 0.0,
    offer_cost: OfferCost = 0.0,
    new_customer_cost: Annotated[float | None, typer.Option(help="Money that winning a new customer costs.")] = None,
    reach: Annotated[int | None, typer.Option(help="Customers to reach; default as many as pay.")] = None,
    uplift: Annotated[float, typer.Option(help="Assumed: by how many points those reached buy more often.")] = 1.0,
    horizon: Horizon = None,
) -> None:
    """Say what keeping customers is worth here. A point of retention, and reaching the best, with ranges."""
    from repurchase.jobs.economics import calculate_economics as run
    from repurchase.jobs.economics import economics_lines

    made = run(
        scores,
        out=out,
        margin=margin,
        contact_cost=contact_cost,
        offer_cost=offer_cost,
        new_customer_cost=new_customer_cost,
        reach=reach,
        uplift_points=uplift,
        horizon_days=horizon,
    )
    _print_lines(economics_lines(made))


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)
