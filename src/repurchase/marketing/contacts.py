"""Read contact details, consent and recent contacts, and suppress customers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.orders.ids import clean_ids
from repurchase.sources.vocabulary import column_key

DETAILS = (
    *("name", "first_name", "last_name", "email", "phone", "address", "postal_code", "city", "country", "language"),
)
FLAGS = ("opted_out", "complained", "staff")
ROLES: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "fullname", "customername", "navn", "naam", "имя", "фио"),
    "first_name": ("firstname", "givenname", "fornavn", "voornaam"),
    "last_name": ("lastname", "surname", "familyname", "etternavn", "achternaam", "фамилия"),
    "email": ("email", "emailaddress", "mail", "epost", "epostadresse", "emailadres", "почта", "электроннаяпочта"),
    "phone": ("phone", "phonenumber", "mobile", "mobil", "telefon", "telefoon", "telephone", "tel", "телефон"),
    "address": ("address", "street", "streetaddress", "address1", "adresse", "adres", "straat", "gate", "адрес"),
    "postal_code": ("postalcode", "postcode", "zip", "zipcode", "postnummer", "postnr", "индекс"),
    "city": ("city", "town", "by", "poststed", "plaats", "stad", "город"),
    "country": ("country", "land", "страна"),
    "language": ("language", "locale", "lang", "språk", "sprak", "taal", "язык"),
    "consent": (
        *("consent", "optin", "acceptsmarketing", "marketingconsent", "subscribed"),
        *("samtykke", "toestemming", "согласие"),
    ),
    "opted_out": ("optedout", "optout", "unsubscribed", "avmeldt", "reservert", "afgemeld", "отписан"),
    "complained": ("complained", "complaint", "complaints", "spamcomplaint", "klage", "klacht", "жалоба"),
    "staff": ("staff", "employee", "isstaff", "isemployee", "ansatt", "medewerker", "сотрудник"),
}
"""Role to plain names of columns (see ``column_key``), the better one first."""
_YES_WORDS = (
    *("yes", "y", "true", "t", "1", "optin", "optedin", "subscribed", "granted", "given", "consented"),
    *("ja", "j", "sant", "waar", "да", "истина"),
)
_NO_WORDS = (
    *("no", "n", "false", "f", "0", "optout", "optedout", "unsubscribed", "denied", "withdrawn", "revoked", "none"),
    *("notsubscribed", "neversubscribed", "nei", "nee", "usant", "onwaar", "нет", "ложь"),
)
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?"
_EMAIL = rf"^[^\s@<>()\[\],;:\\\"]+@{_LABEL}(?:\.{_LABEL})+$"
_DOTS = r"^\.|\.\.|\.@"
_MAX_EMAIL_LENGTH = 254
_PHONE = r"^\+?\d{6,15}$"
_PHONE_CHARACTERS = r"[\s().\-/\u00a0]"


@dataclass(frozen=True)
class Contacts:
    """Checked contacts: one row per customer, faults that can be repaired, rows read and rows without an id."""

    rows: pl.DataFrame
    repair: pl.DataFrame
    n_rows: int
    without_id: int

    def has(self, role: str) -> bool:
        """Whether the file has a column of this role."""
        return role in self.rows.columns


def read_contacts(rows: pl.DataFrame, *, id_column: str, columns: Mapping[str, str], source: str) -> Contacts:
    """Check contacts; ``columns`` names those of some roles."""
    is_address = column_key(id_column) in ROLES["email"]  # shops whose customers are e-mail addresses
    found = _columns_by_role([name for name in rows.columns if name != id_column or is_address], columns, source)
    ids = clean_ids(_text(rows[id_column]).str.strip_prefix("'")).alias("customer_id")
    read = pl.DataFrame([ids, *(_text(rows[column]).alias(role) for role, column in found.items())])
    read = read.with_columns(_flag(read, role, found, source) for role in ("consent", *FLAGS))
    known = read.filter(pl.col("customer_id").is_not_null())
    if not known.height:
        raise InputError(f"{source}: {rows.height:,} rows, and not one customer id in column '{id_column}'.")
    checked, faults = _check_details(known)
    _require_one_consent(checked, "customer_id", source)
    if "email" in found:
        _require_one_consent(checked.with_columns(pl.col("email").str.to_lowercase()), "email", source)
    customers, ambiguous = _one_row_per_customer(checked)
    repair = pl.concat([faults, ambiguous]).sort("customer_id", "what")
    return Contacts(customers, repair, rows.height, rows.height - known.height)


def _columns_by_role(names: list[str], chosen: Mapping[str, str], source: str) -> dict[str, str]:
    unknown = [role for role in chosen if role not in ROLES]
    if unknown:
        raise InputError(f"[lists.contacts]: unknown: {first_few(unknown)}. Known: {', '.join(ROLES)}.")
    absent = [column for column in chosen.values() if column not in names]
    if absent:
        raise InputError(f"{source}: no column {first_few(absent)}, which [lists.contacts] names.")
    by_key: dict[str, list[str]] = {}
    for name in names:  # reading a CSV numbers the second of two columns of one name
        by_key.setdefault(column_key(re.sub(r"_duplicated_\d+$", "", name)), []).append(name)
    columns = dict(chosen)
    for role, keys in ROLES.items():
        found = [by_key[key] for key in keys if key in by_key]
        same = next((candidates for candidates in found if len(candidates) > 1), None)
        if role not in chosen and same:
            raise InputError(
                f"{source}: {len(same)} columns are called {same[0]}. Leave one, or say which it is: "
                f'[lists.contacts] {role} = "…".'
            )
        if found:
            columns.setdefault(role, found[0][0])
    if "consent" not in columns:
        raise InputError(
            f"{source}: no column of consent, and without consent nobody may be listed. Found: "
            f'{first_few(names, shown=12)}. Name it consent, or say which it is: [lists.contacts] consent = "…".'
        )
    return columns


def _text(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    if values.dtype.is_float():
        return clean_ids(values)
    stripped = values.cast(pl.String).str.strip_chars()
    return stripped.set((stripped == "").fill_null(value=False), None)


def _flag(read: pl.DataFrame, role: str, columns: Mapping[str, str], source: str) -> pl.Series:
    """Whether, by known words only; empty counts as no."""
    if role not in columns:
        return pl.repeat(False, read.height, eager=True).alias(role)
    words = read[role].drop_nulls().unique(maintain_order=True)
    meaning = {word: key in _YES_WORDS for word in words if (key := column_key(word)) in {*_YES_WORDS, *_NO_WORDS}}
    unknown = [word for word in words if word not in meaning]
    if unknown:
        shown = first_few(f"'{word}'" for word in unknown)
        raise InputError(
            f"{source}: column '{columns[role]}' has {len(unknown):,} values that say neither yes nor no: {shown}. "
            "Write yes or no (also true, false, 1, 0, opt-in, opt-out).",
            withheld=shown,
        )
    flags = read[role].replace_strict(meaning, default=False, return_dtype=pl.Boolean)
    return flags.fill_null(value=False).alias(role)


def _check_details(known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Valid details, null where there is none, and the faults that can be repaired."""
    valid = {"email": _email(), "phone": _phone(), "address": _postal_address(known.columns)}
    faults = [pl.DataFrame(schema={"customer_id": pl.String, "what": pl.String, "found": pl.String})]
    checked = known
    for role, detail in valid.items():
        if role not in known.columns:
            continue
        checked = checked.with_columns(known.select(detail.alias(role)).to_series())
        kind = pl.when(pl.col(role).is_null()).then(pl.lit(f"no {role}")).otherwise(pl.lit(f"invalid {role}"))
        invalid = known.filter(checked[role].is_null())
        faults.append(invalid.select("customer_id", kind.alias("what"), pl.col(role).alias("found")))
    return checked, pl.concat(faults)


def _email() -> pl.Expr:
    email = pl.col("email")
    is_valid = email.str.contains(_EMAIL) & ~email.str.contains(_DOTS) & (email.str.len_bytes() <= _MAX_EMAIL_LENGTH)
    is_formula = email.str.slice(0, 1).is_in(list("=+-@|'"))
    return pl.when(is_valid & ~is_formula).then(email)


def _phone() -> pl.Expr:
    digits = pl.col("phone").str.strip_prefix("'").str.replace_all(_PHONE_CHARACTERS, "").str.replace(r"^00", "+")
    return pl.when(digits.str.contains(_PHONE)).then(digits)


def _postal_address(columns: list[str]) -> pl.Expr:
    needed = [pl.col(role).is_not_null() for role in ("address", "postal_code", "city") if role in columns]
    return pl.when(pl.all_horizontal(pl.lit(value=True), *needed)).then("address")


def _require_one_consent(checked: pl.DataFrame, person: str, source: str) -> None:
    differ = checked.filter(pl.col(person).is_not_null()).group_by(person).agg(pl.col("consent").n_unique())
    conflicting = differ.filter(pl.col("consent") > 1)[person].sort()
    if len(conflicting):
        who = "customers" if person == "customer_id" else "e-mail addresses"
        shown = first_few(conflicting)
        raise InputError(
            f"{source}: two consents for one person: {len(conflicting):,} {who} say both yes and no: {shown}. "
            "Send one row per person, with the consent that holds.",
            withheld=shown,
        )


def _one_row_per_customer(checked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per customer; where two differ neither counts, and the customer is listed for repair."""
    distinct = checked.unique(maintain_order=True)
    flags = distinct.group_by("customer_id", maintain_order=True).agg(pl.col(name).any() for name in FLAGS)
    merged = distinct.drop(FLAGS).unique(maintain_order=True)
    twice = merged.filter(pl.col("customer_id").is_duplicated())["customer_id"].unique(maintain_order=True)
    details = [name for name in merged.columns if name not in {"customer_id", "consent"}]
    is_ambiguous = pl.col("customer_id").is_in(twice.implode())
    kept = merged.with_columns(pl.when(~is_ambiguous).then(pl.col(name)).alias(name) for name in details).unique(
        "customer_id", maintain_order=True
    )
    repair = pl.DataFrame({"customer_id": twice}).with_columns(
        what=pl.lit("two rows that differ"), found=pl.lit(None, pl.String)
    )
    return kept.join(flags, on="customer_id", how="left", maintain_order="left"), repair


REASONS: Mapping[str, str] = {
    "not_in_contacts": "not in the contact file",
    "no_consent": "no consent",
    "opted_out": "opted out",
    "complained": "complained",
    "staff": "staff",
    "no_valid_address": "no valid address",
    "just_bought": "bought very recently",
    "just_contacted": "contacted recently",
}
"""Why a customer is left out; the first reason that holds is counted."""
_DATES = ("date", "contactedon", "contactedat", "contacted", "sentat", "sent", "day", "dato", "datum", "дата")
_HOURS = 24


@dataclass(frozen=True)
class RecentContacts:
    """Who was contacted, and on which day last."""

    rows: pl.DataFrame
    has_days: bool


def read_recent_contacts(rows: pl.DataFrame, *, id_column: str, source: str) -> RecentContacts:
    """Read who was contacted, and on which day last."""
    ids = clean_ids(rows[id_column].cast(pl.String).str.strip_prefix("'")).alias("customer_id")
    by_name = {column_key(name): name for name in reversed(rows.columns)}
    column = next((by_name[name] for name in _DATES if name in by_name), None)
    days = pl.repeat(None, rows.height, dtype=pl.Date, eager=True) if column is None else _days(rows[column], source)
    known = pl.DataFrame([ids, days.alias("contacted_on")]).filter(pl.col("customer_id").is_not_null())
    latest = known.group_by("customer_id", maintain_order=True).agg(pl.col("contacted_on").max())
    return RecentContacts(latest, column is not None)


def _days(values: pl.Series, source: str) -> pl.Series:
    if values.dtype.is_temporal():
        return values.cast(pl.Date)
    text = values.cast(pl.String).str.strip_chars().str.slice(0, 10)
    days = text.str.to_date("%Y-%m-%d", strict=False)
    invalid = values.filter(days.is_null() & (text != "")).cast(pl.String)
    if len(invalid):
        raise InputError(
            f"{source}: {len(invalid):,} days in column '{values.name}' cannot be read: {first_few(invalid)}. "
            "Expected days such as 2024-12-31.",
            withheld=first_few(invalid),
        )
    return days


def suppression_reasons(
    rows: pl.DataFrame,
    *,
    as_of: date,
    bought_within_hours: int,
    contacted: RecentContacts | None = None,
    contacted_within_days: int = 0,
    reachable: pl.Expr | None = None,
) -> pl.Series:
    """Reason why a customer is not to be contacted.

    A purchase counts as one of the last N hours if it may be: its day ended less than N hours before ``as_of`` did.
    """
    rules: dict[str, pl.Expr] = {}
    if "consent" in rows.columns:
        rules["not_in_contacts"] = ~pl.col("in_contacts")
        rules["no_consent"] = ~pl.col("consent")
        rules |= {name: pl.col(name) for name in ("opted_out", "complained", "staff")}
    if reachable is not None:
        rules["no_valid_address"] = ~reachable
    rules["just_bought"] = pl.col("days_since_last") * _HOURS < bought_within_hours
    if contacted is not None:
        rows = rows.join(contacted.rows, on="customer_id", how="left", maintain_order="left")
        listed = pl.col("customer_id").is_in(contacted.rows["customer_id"].implode())
        ago = (pl.lit(as_of) - pl.col("contacted_on")).dt.total_days()
        rules["just_contacted"] = listed & (ago < contacted_within_days).fill_null(value=True)
    why = pl.coalesce(
        pl.when(rules[name].fill_null(value=name == "no_valid_address")).then(pl.lit(name))
        for name in REASONS
        if name in rules
    )
    return rows.select(why.alias("left_out")).to_series()
