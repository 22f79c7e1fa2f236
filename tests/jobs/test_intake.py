"""What a run was not told, it takes from the model's training."""

from pathlib import Path

from repurchase.jobs.order_intake import with_model_settings
from repurchase.settings import Settings

REMEMBERED = {"currency": "NOK", "timezone": "Europe/Oslo", "columns": {"amount": "Sum"}, "duplicates": "keep"}


def test_what_was_not_told_is_remembered():
    told = with_model_settings(Settings(home=Path("shop")), REMEMBERED)

    assert told.home == Path("shop")
    assert (told.currency, told.timezone, told.duplicates) == ("NOK", "Europe/Oslo", "keep")
    assert told.columns == {"amount": "Sum"}


def test_what_is_told_now_wins():
    told = with_model_settings(Settings(currency="SEK", columns={"amount": "Total"}), REMEMBERED)

    assert (told.currency, told.columns) == ("SEK", {"amount": "Total"})
    assert told.timezone == "Europe/Oslo"


def test_what_this_version_does_not_know_is_passed_over():
    assert with_model_settings(Settings(), {"from_a_later_version": 1}) == Settings()


def test_flags_win_over_the_file_and_the_file_over_the_model(tmp_path):
    (tmp_path / "repurchase.toml").write_text('currency = "DKK"\ntimezone = "Europe/Copenhagen"\n')

    told = with_model_settings(Settings.load(tmp_path, currency="SEK", timezone=None), REMEMBERED)

    assert (told.currency, told.timezone, told.duplicates) == ("SEK", "Europe/Copenhagen", "keep")
