"""How a campaign is to be measured, and which uplift is taken for granted until it was."""

from dataclasses import dataclass

from repurchase.errors import InputError
from repurchase.marketing.power import control_size

__all__ = ["Assumption", "Design"]


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """How much more often those reached are taken to buy.

    Parameters
    ----------
    uplift : float
        As a share (0.02 for two points), above 0.
    error : float
        Its standard error where it was measured, else 0.
    low, high : float, optional
        95 % interval where it was measured.
    source : str
        ``assumed``, ``past campaigns`` or ``learned from past campaigns``.
    """

    uplift: float
    error: float = 0.0
    low: float | None = None
    high: float | None = None
    source: str = "assumed"

    @property
    def is_measured(self) -> bool:
        """Whether past campaigns say so."""
        return self.low is not None


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a campaign is to be measured.

    Parameters
    ----------
    campaign : str
        Its name; it and the seed decide the lot.
    effect : float
        Uplift to be seen, as a share, above 0.
    power : float
        Probability of seeing it, above ``alpha`` and below 1.
    alpha : float
        Probability of a false alarm, above 0 and below 0.5.
    control_share : float, optional
        Share held out; default as many as the effect asks for. 0 holds out nobody: then nothing can be measured.
    seed : int
        Of the lot.

    Raises
    ------
    InputError
        If a value is outside its range.

    Examples
    --------
    >>> Design(campaign="May", effect=0.02, control_share=1.0)
    Traceback (most recent call last):
        ...
    repurchase.errors.InputError: --control-share 1: a control group of everyone leaves nobody to reach. ...
    """

    campaign: str
    effect: float
    power: float = 0.8
    alpha: float = 0.05
    control_share: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        InputError
            If one is outside its range.
        """
        if not self.campaign.strip():
            raise InputError("--name must not be empty: the campaign's name decides the lot.")
        if not 0 < self.effect < 1:
            raise InputError(
                f"--effect must be above 0 and below 100 points (2 for two in a hundred). Got {100 * self.effect:g}."
            )
        if not 0 < self.alpha < 0.5:
            raise InputError(f"--alpha must be above 0 and below 0.5. Got {self.alpha:g} instead.")
        if not self.alpha < self.power < 1:
            raise InputError(f"--power must be above --alpha and below 1. Got {self.power:g} instead.")
        share = self.control_share
        if share is not None and share >= 1:
            raise InputError(
                f"--control-share {share:g}: a control group of everyone leaves nobody to reach. Give a share below 1, "
                "such as 0.2."
            )
        if share is not None and not share >= 0:
            raise InputError(f"--control-share must be 0 or more and below 1. Got {share:g} instead.")

    @property
    def holds_out(self) -> bool:
        """Whether there is a control group."""
        return self.control_share is None or self.control_share > 0

    def n_control(self, n: int, base: float, explained: float = 0.0) -> int:
        """Say how many of a list to hold out.

        Parameters
        ----------
        n : int
            Customers on the list.
        base : float
            Share that buys anyway.
        explained : float
            Share of the outcome's variance that the scores are counted on to take off.

        Returns
        -------
        int
            The share told, else as few as show the effect, else half.
        """
        if self.control_share is not None:
            return round(self.control_share * n)
        told = {"effect": self.effect, "base": base, "power": self.power, "alpha": self.alpha, "explained": explained}
        return control_size(n, **told) or n // 2
