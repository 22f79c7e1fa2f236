"""Commands about campaigns and money: campaign plan, campaign measure, economics."""

from dataclasses import dataclass
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
HorizonDays = Annotated[
    int | None, option("Days in which purchases count; a horizon of the scores.", MODEL, "--horizon")
]
Margin = Annotated[float | None, option("Contribution margin as a share of sales, such as 0.3.")]
OfferCost = Annotated[float, option("Cost per contacted customer who buys: discount, gift, postage.")]


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Fields of `CampaignOptions`."""

    effect_points: Annotated[
        float | None, option("Uplift to detect: 2 if 2 more in 100 should buy.", None, "--effect")
    ] = None
    list_file: Annotated[Path | None, option("Choose among these (CSV or Parquet).", INPUT, "--list")] = None
    segments: Annotated[list[str] | None, option("Choose in this segment; repeatable.", INPUT, "--segment")] = None
    past: Annotated[list[Path] | None, option("Learn from this *.measured.json; repeatable.", INPUT)] = None
    day: Annotated[date | None, day_option("First day of the campaign; default the day of the scores.")] = None
    horizon_days: HorizonDays = None
    uplift_points: Annotated[
        float | None, option("Assumed uplift, in points; default --effect.", MODEL, "--uplift")
    ] = None
    power: Annotated[float, option("Probability of detecting the effect.", MODEL)] = 0.8
    alpha: Annotated[float, option("Probability of a false positive.", MODEL)] = 0.05
    control_share: Annotated[float | None, option("Control group; default by --effect, 0 for none.", MODEL)] = None
    name: Annotated[str | None, option("Name; the random assignment depends on it.", ADVANCED)] = None
    seed: Annotated[int, option("Seed of the random assignment.", ADVANCED)] = 0


@dataclass(frozen=True, kw_only=True)
class EconomicsOptions:
    """Parameters of `calculate_economics`."""

    out: Annotated[Path | None, option("JSON file; a table (CSV) and a chart are written next to it.")] = None
    margin: Margin = None
    contact_cost: ContactCost = 0.0
    offer_cost: OfferCost = 0.0
    new_customer_cost: Annotated[float | None, option("Cost of acquiring a new customer.")] = None
    reach: Annotated[int | None, option("Customers to contact; default as many as pay.", MODEL)] = None
    uplift_points: Annotated[float, option("Assumed uplift, in percentage points.", MODEL, "--uplift")] = 1.0
    horizon_days: HorizonDays = None


@campaign_app.command("plan")
def plan_campaign(
    scores: ScoresFile,
    plan: PlanOptions,
    *,
    out: Annotated[Path, option("Campaign file (.json), or a folder for it.")],
    budget: Annotated[float | None, option("Budget for contacts and offers.")] = None,
    cost_per_contact: ContactCost = 0.0,
    offer_cost: OfferCost = 0.0,
    margin: Margin = None,
    home: Home = Path(),
    columns: IdColumn = None,
) -> None:
    """Choose whom to contact, and randomly assign a control group.

    Says what the campaign should bring, and which effect it can detect.
    """
    from repurchase.jobs.campaign_planning import CampaignOptions, prepare_campaign
    from repurchase.marketing.economics import CampaignTerms
    from repurchase.settings import Settings

    options = CampaignOptions(**{**vars(plan), "segments": plan.segments or (), "past": plan.past or ()})
    terms = CampaignTerms(cost_per_contact=cost_per_contact, offer_cost=offer_cost, budget=budget)
    settings = Settings.load(home, columns=columns)
    result = prepare_campaign(scores, out, settings=settings, options=options, margin=margin, terms=terms)
    print_lines(result.summary)


@campaign_app.command("measure")
def measure_campaign(
    campaign: Annotated[Path, argument("Campaign file, or its folder.", "CAMPAIGN")],
    orders: OrderOptions,
    *,
    out: Annotated[Path | None, option("*.measured.json or folder; default next to the campaign.")] = None,
    from_day: Annotated[
        date | None, day_option("First day of the campaign, if not as planned.", None, "--from")
    ] = None,
) -> None:
    """Measure the effect of a campaign against its control group.

    Uplift, sales, profit and return on spend with confidence intervals, or that the data does not show an effect.
    """
    from repurchase.jobs.campaign_measurement import run_measurement

    settings = orders.settings()
    result = run_measurement(campaign, orders.source, settings=settings, from_day=from_day, as_of=orders.as_of, out=out)
    print_lines(result.summary)


@economics_app.command()
def economics(scores: ScoresFile, options: EconomicsOptions) -> None:
    """Estimate what retention is worth to this shop.

    The value of one percentage point of retention and of contacting the best customers, with ranges.
    """
    from repurchase.jobs.economics import calculate_economics

    print_lines(calculate_economics(scores, **vars(options)).summary)
