"""What a run was not told, it takes from the model's training."""

from pathlib import Path

from repurchase.jobs.intake import settings_of
from repurchase.settings import Settings

REMEMBERED = {"currency": "NOK", "timezone": "Europe/Oslo", "columns": {"amount": "Sum"}, "duplicates": "keep"}


def test_what_was_not_told_is_remembered():
    told = settings_of(Settings(home=Path("shop")), REMEMBERED)

    assert told.home == Path("shop")
    assert (told.currency, told.timezone, told.duplicates) == ("NOK", "Europe/Oslo", "keep")
    assert told.columns == {"amount": "Sum"}


def test_what_is_told_now_wins():
    told = settings_of(Settings(currency="SEK", columns={"amount": "Total"}), REMEMBERED)

    assert (told.currency, told.columns) == ("SEK", {"amount": "Total"})
    assert told.timezone == "Europe/Oslo"


def test_what_this_version_does_not_know_is_passed_over():
    assert settings_of(Settings(), {"from_a_later_version": 1}) == Settings()


def test_flags_win_over_the_file_and_the_file_over_the_model(tmp_path):
    (tmp_path / "repurchase.toml").write_text('currency = "DKK"\ntimezone = "Europe/Copenhagen"\n')

    told = settings_of(Settings.load(tmp_path, currency="SEK", timezone=None), REMEMBERED)

    assert (told.currency, told.timezone, told.duplicates) == ("SEK", "Europe/Copenhagen", "keep")
