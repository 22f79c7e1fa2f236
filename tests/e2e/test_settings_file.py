"""A settings file of any content is read or refused in one line."""

import pytest

DEEP = "currency = " + "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('timezone = ["x"]', "'timezone' must be"),
        ("timezone = {a = 1}", "'timezone' must be"),
        ("horizons = [true]", "'horizons' must be"),
        ('horizons = ["30"]', "'horizons' must be"),
        ("horizons = 30", "'horizons' must be"),
        ("jobs = true", "'jobs' must be"),
        ("jobs = [1]", "'jobs' must be"),
        ("memory_gb = inf", "'memory_gb' must be"),
        ("memory_gb = true", "'memory_gb' must be"),
        ("discount_rate = nan", "'discount_rate' must be"),
        ("random_state = 1.5", "'random_state' must be"),
        ("currency = 2020-01-01", "'currency' must be"),
        ('date_order = ["day_first"]', "'date_order' must be"),
        ("[columns]\ncustomer_id = ['a']", "'columns' must be"),
        ("[columns.customer_id]\nx = 'a'", "'columns' must be"),
        ("columns = 'x'", "'columns' must be"),
        ("[sufficiency]\njobs = 1", "'sufficiency' must be"),
        ("[sufficiency.min_customers]\nx = 1", "'min_customers' must be"),
        (DEEP, "nested too deeply"),
        ("jobs = " + "9" * 5000, "not readable as TOML"),
        ("jobs = " + "9" * 4000, "'jobs' must be|expected"),
        ("#" * (1 << 21), "bytes, more than"),
    ],
)
def test_wrong_content_is_one_line(repurchase, tmp_path, content, said):
    (tmp_path / "repurchase.toml").write_text(content)

    outcome = repurchase("check", tmp_path / "nowhere.csv", "--home", tmp_path)

    if "9" * 4000 in content and "9" * 5000 not in content:
        said = "no such file"  # a whole number, however large, is one
    assert said in outcome.line
    assert len(outcome.line) < 400


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[lists.costs]\nphone = inf", "costs"),
        ("[lists.costs]\nphone = [1]", "costs"),
        ('[lists]\nlocale = ["nb"]', "locale"),
        ("[lists.mail_tool]\nx = 1", "mail_tool"),
        ("[lists.columns]\nklaviyo = 'x'", "columns"),
        ("[lists.columns.klaviyo]\nemail = ['x']", "columns"),
        ("[lists]\nbought_within_hours = true", "bought_within_hours"),
        ("[lists]\nmargin = nan", "margin"),
    ],
)
def test_wrong_rules_of_lists_are_one_line(repurchase, tmp_path, content, said):
    (tmp_path / "repurchase.toml").write_text(content)

    outcome = repurchase("lists", tmp_path / "nowhere.parquet", "--out", tmp_path / "out", "--home", tmp_path)

    assert f"[lists] {said}" in outcome.line
    assert " must be " in outcome.line


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_not_passed_over(repurchase, tmp_path, kind):
    place = tmp_path / "repurchase.toml"
    if kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "gone.toml")

    assert str(place) in repurchase("check", "nowhere.csv", "--home", tmp_path).line


@pytest.mark.parametrize(
    "words",
    [
        ("check", ""),
        ("check", " "),
        ("score", "", "--out", "s.csv"),
        ("score", "orders.csv", "--out", ""),
        ("score", "orders.csv", "--out", "s.csv", "--customers", ""),
        ("train", ""),
        ("report", ""),
        ("report", "s.csv", "--out", ""),
        ("lists", "s.csv", "--out", ""),
        ("lists", "", "--out", "lists"),
        ("monitor", "", "orders.csv"),
        ("models", "export", "1", "--out", ""),
        ("models", "show", ""),
        ("check", "orders.csv", "--home", ""),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_named_as_one(repurchase, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "orders.csv").write_text("customer_id,order_date,amount\na,2023-01-01,5\n")

    outcome = repurchase(*words)

    assert "is empty" in outcome.line or "no model" in outcome.line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders.csv", "x"]
