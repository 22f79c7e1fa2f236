"""Commands about campaigns and money: campaign plan, campaign measure, economics."""

from datetime import date
from pathlib import Path
from typing import Annotated

from repurchase.cli.options import (
    ADVANCED,
    INPUT,
    MODEL,
    CommandGroup,
    Home,
    IdColumn,
    OrderOptions,
    ScoresFile,
    argument,
    day_option,
    option,
)
from repurchase.cli.process import print_lines

campaign_app = CommandGroup(help="Plan a campaign with a control group, and measure its effect.")
economics_app = CommandGroup()

ContactCost = Annotated[float, option("Cost per customer contacted.")]
Horizon = Annotated[
    int | None, option("Days in which purchases count; one of the horizons of the scores.", panel=MODEL)
]
Margin = Annotated[float | None, option("Contribution margin as a share of sales, such as 0.3.")]
OfferCost = Annotated[float, option("Cost per contacted customer who buys: discount, gift, postage.")]


@campaign_app.command("plan")
def plan_campaign(
    scores: ScoresFile,
    *,
    out: Annotated[Path, option("Campaign file (.json), or a folder for it.")],
    effect: Annotated[
        float | None, option("Uplift to detect, in percentage points: 2 if 2 more in 100 should buy.")
    ] = None,
    budget: Annotated[float | None, option("Budget for contacts and offers.")] = None,
    cost_per_contact: ContactCost = 0.0,
    offer_cost: OfferCost = 0.0,
    margin: Margin = None,
    home: Home = Path(),
    list_file: Annotated[
        Path | None, option("Choose among these customers (CSV or Parquet).", "--list", panel=INPUT)
    ] = None,
    segment: Annotated[
        list[str] | None, option("Choose among customers of this segment; repeatable.", panel=INPUT)
    ] = None,
    past: Annotated[
        list[Path] | None, option("A measured campaign (*.measured.json) to learn from; repeatable.", panel=INPUT)
    ] = None,
    columns: IdColumn = None,
    name: Annotated[
        str | None, option("Name of the campaign; the random assignment depends on it.", panel=ADVANCED)
    ] = None,
    day: Annotated[date | None, day_option("First day of the campaign; default the day of the scores.")] = None,
    horizon: Horizon = None,
    uplift: Annotated[
        float | None, option("Assumed uplift, in percentage points; default --effect.", panel=MODEL)
    ] = None,
    power: Annotated[float, option("Probability of detecting the effect.", panel=MODEL)] = 0.8,
    alpha: Annotated[float, option("Probability of a false positive.", panel=MODEL)] = 0.05,
    control_share: Annotated[
        float | None,
        option("Share in the control group; default the least that detects the effect; 0 for none.", panel=MODEL),
    ] = None,
    seed: Annotated[int, option("Seed of the random assignment.", panel=ADVANCED)] = 0,
) -> None:
    """Choose whom to contact, and randomly assign a control group.

    Says what the campaign should bring, and which effect it can detect.
    """
    from repurchase.jobs.campaign_planning import CampaignOptions, planned_lines, prepare_campaign
    from repurchase.marketing.economics import CampaignTerms
    from repurchase.settings import Settings

    options = CampaignOptions(
        name=name,
        day=day,
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
    settings = Settings.load(home, columns=columns)
    plan = prepare_campaign(scores, out, settings=settings, asked=options, margin=margin, terms=terms)
    print_lines(planned_lines(plan.record, plan.path))


@campaign_app.command("measure")
def measure_campaign(
    campaign: Annotated[Path, argument("Campaign file, or its folder.", "CAMPAIGN")],
    orders: OrderOptions,
    *,
    out: Annotated[
        Path | None, option("Result file (*.measured.json), or a folder for it; default next to the campaign.")
    ] = None,
    from_day: Annotated[date | None, day_option("First day of the campaign, if not as planned.", "--from")] = None,
) -> None:
    """Measure the effect of a campaign against its control group.

    Uplift, sales, profit and return on spend with confidence intervals, or that the data does not show an effect.
    """
    from repurchase.jobs.campaign_measurement import measured_lines, run_measurement

    settings = orders.settings()
    result = run_measurement(campaign, orders.source, settings=settings, from_day=from_day, as_of=orders.as_of, out=out)
    print_lines(measured_lines(result.record, result.path))


@economics_app.command()
def economics(
    scores: ScoresFile,
    *,
    out: Annotated[Path | None, option("JSON file; a table (CSV) and a chart are written next to it.")] = None,
    margin: Margin = None,
    contact_cost: ContactCost = 0.0,
    offer_cost: OfferCost = 0.0,
    new_customer_cost: Annotated[float | None, option("Cost of acquiring a new customer.")] = None,
    reach: Annotated[int | None, option("Customers to contact; default as many as pay.", panel=MODEL)] = None,
    uplift: Annotated[
        float, option("Assumed increase of purchases among contacted customers, in percentage points.", panel=MODEL)
    ] = 1.0,
    horizon: Horizon = None,
) -> None:
    """Estimate what retention is worth to this shop.

    The value of one percentage point of retention and of contacting the best customers, with ranges.
    """
    from repurchase.jobs.economics import calculate_economics, economics_lines

    result = calculate_economics(
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
    print_lines(economics_lines(result))
