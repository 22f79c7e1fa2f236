"""How customers can be reached, and whether they may be: read strictly, never guessed.

A row says who (an id), a name, an e-mail address, a telephone number, a postal address, a language, and the consent.
What is missing or cannot be an address goes to a list for repair and is left empty; a word for consent that is not
known is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from repurchase.errors import InputError, first_few
from repurchase.orders.ids import clean_ids
from repurchase.orders.vocabulary import plain

__all__ = ["DETAILS", "FLAGS", "NO_WORDS", "ROLES", "YES_WORDS", "Contacts", "read_contacts"]

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
"""Role to plain names of columns (see ``vocabulary.plain``), the better one first."""
YES_WORDS = (
    *("yes", "y", "true", "t", "1", "optin", "optedin", "subscribed", "granted", "given", "consented"),
    *("ja", "j", "sant", "waar", "да", "истина"),
)
NO_WORDS = (
    *("no", "n", "false", "f", "0", "optout", "optedout", "unsubscribed", "denied", "withdrawn", "revoked", "none"),
    *("notsubscribed", "neversubscribed", "nei", "nee", "usant", "onwaar", "нет", "ложь"),
)
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?"
_EMAIL = rf"^[^\s@<>()\[\],;:\\\"]+@{_LABEL}(?:\.{_LABEL})+$"
_DOTS = r"^\.|\.\.|\.@"
_LONGEST_EMAIL = 254
_PHONE = r"^\+?\d{6,15}$"
_PHONE_SIGNS = r"[\s().\-/\u00a0]"


@dataclass(frozen=True)
class Contacts:
    """Contacts, checked.

    Parameters
    ----------
    rows : DataFrame
        One row per customer: ``customer_id``, those of ``DETAILS`` that the file has, ``consent`` and ``FLAGS``; what
        is missing or invalid is null.
    repair : DataFrame
        ``customer_id``, ``what`` is wrong, ``found``.
    n_rows : int
        Rows of the file.
    without_id : int
        Rows that name no customer.
    """

    rows: pl.DataFrame
    repair: pl.DataFrame
    n_rows: int
    without_id: int

    def has(self, role: str) -> bool:
        """Whether the file knows such a detail at all.

        Parameters
        ----------
        role : str
            One of ``DETAILS``.

        Returns
        -------
        bool
            True if there is such a column.
        """
        return role in self.rows.columns


def read_contacts(rows: pl.DataFrame, *, id_column: str, told: Mapping[str, str], source: str) -> Contacts:
    """Check contacts.

    Parameters
    ----------
    rows : DataFrame
        As they stand in the file.
    id_column : str
        Its column of customer ids.
    told : mapping of str to str
        Role to the name of its column, where the names are unusual.
    source : str
        What messages call the file.

    Returns
    -------
    Contacts
        One row per customer.

    Raises
    ------
    InputError
        If there is no id, no column of consent, two columns of one name, a word for consent that is not known, or two
        consents for one person.
    """
    is_address = plain(id_column) in ROLES["email"]  # shops whose customers are e-mail addresses
    columns = _columns([name for name in rows.columns if name != id_column or is_address], told, source)
    ids = clean_ids(_text(rows[id_column]).str.strip_prefix("'")).alias("customer_id")
    read = pl.DataFrame([ids, *(_text(rows[column]).alias(role) for role, column in columns.items())])
    read = read.with_columns(_flag(read, role, columns, source) for role in ("consent", *FLAGS))
    known = read.filter(pl.col("customer_id").is_not_null())
    if not known.height:
        raise InputError(f"{source}: {rows.height:,} rows, and not one customer id in column '{id_column}'.")
    checked, repair = _checked(known)
    _require_one_consent(checked, "customer_id", source)
    if "email" in columns:
        _require_one_consent(checked.with_columns(pl.col("email").str.to_lowercase()), "email", source)
    once, twice = _once(checked)
    return Contacts(
        once, pl.concat([repair, twice]).sort("customer_id", "what"), rows.height, rows.height - known.height
    )


def _columns(names: list[str], told: Mapping[str, str], source: str) -> dict[str, str]:
    strange = [role for role in told if role not in ROLES]
    if strange:
        raise InputError(f"[lists.contacts]: unknown: {first_few(strange)}. Known: {', '.join(ROLES)}.")
    absent = [column for column in told.values() if column not in names]
    if absent:
        raise InputError(f"{source}: no column {first_few(absent)}, which [lists.contacts] names.")
    _require_one_column(names, told, source)
    by_name = {plain(name): name for name in reversed(names)}
    found = {role: next((by_name[word] for word in words if word in by_name), None) for role, words in ROLES.items()}
    columns = {**{role: name for role, name in found.items() if name is not None}, **told}
    if "consent" not in columns:
        raise InputError(
            f"{source}: no column of consent, and without consent nobody may be listed. Found: "
            f'{first_few(names, shown=12)}. Name it consent, or say which it is: [lists.contacts] consent = "…".'
        )
    return columns


def _require_one_column(names: list[str], told: Mapping[str, str], source: str) -> None:
    """Refuse two columns of one name; reading a CSV numbers the second one."""
    same: dict[str, list[str]] = {}
    for name in names:
        same.setdefault(plain(re.sub(r"_duplicated_\d+$", "", name)), []).append(name)
    for role, words in ROLES.items():
        twice = next((same[word] for word in words if len(same.get(word, ())) > 1), None)
        if twice and role not in told:
            raise InputError(
                f"{source}: {len(twice)} columns are called {twice[0]}. Leave one, or say which it is: "
                f'[lists.contacts] {role} = "…".'
            )


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
    given = read[role].drop_nulls().unique(maintain_order=True)
    meant = {word: plain(word) in YES_WORDS for word in given if plain(word) in {*YES_WORDS, *NO_WORDS}}
    unknown = [word for word in given if word not in meant]
    if unknown:
        shown = first_few(f"'{word}'" for word in unknown)
        raise InputError(
            f"{source}: column '{columns[role]}' has {len(unknown):,} values that say neither yes nor no: {shown}. "
            "Write yes or no (also true, false, 1, 0, opt-in, opt-out).",
            withheld=shown,
        )
    said = read[role].replace_strict(meant, default=False, return_dtype=pl.Boolean)
    return said.fill_null(value=False).alias(role)


def _checked(known: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    checks = {"email": _email, "phone": _phone}
    faults: list[pl.DataFrame] = []
    checked = known
    for role in ("email", "phone", "address"):
        if role not in known.columns:
            continue
        valid = checks[role](pl.col(role)) if role in checks else _postal(known.columns)
        tried = known.select("customer_id", found=pl.col(role), valid=valid)
        what = pl.when(pl.col("found").is_null()).then(pl.lit(f"no {role}")).otherwise(pl.lit(f"invalid {role}"))
        faults.append(tried.filter(pl.col("valid").is_null()).select("customer_id", what.alias("what"), "found"))
        checked = checked.with_columns(tried["valid"].alias(role))
    nobody = pl.DataFrame(schema={"customer_id": pl.String, "what": pl.String, "found": pl.String})
    return checked, pl.concat([nobody, *faults])


def _email(given: pl.Expr) -> pl.Expr:
    fits = given.str.contains(_EMAIL) & ~given.str.contains(_DOTS) & (given.str.len_bytes() <= _LONGEST_EMAIL)
    begins = given.str.slice(0, 1).is_in(list("=+-@|'"))
    return pl.when(fits & ~begins).then(given)


def _phone(given: pl.Expr) -> pl.Expr:
    digits = given.str.strip_prefix("'").str.replace_all(_PHONE_SIGNS, "").str.replace(r"^00", "+")
    return pl.when(digits.str.contains(_PHONE)).then(digits)


def _postal(columns: list[str]) -> pl.Expr:
    needed = [pl.col(role).is_not_null() for role in ("address", "postal_code", "city") if role in columns]
    return pl.when(pl.all_horizontal(needed)).then("address")


def _require_one_consent(checked: pl.DataFrame, person: str, source: str) -> None:
    differ = checked.filter(pl.col(person).is_not_null()).group_by(person).agg(pl.col("consent").n_unique())
    torn = differ.filter(pl.col("consent") > 1)[person].sort()
    if len(torn):
        who = "customers" if person == "customer_id" else "e-mail addresses"
        shown = first_few(torn)
        raise InputError(
            f"{source}: two consents for one person: {len(torn):,} {who} say both yes and no: {shown}. "
            "Send one row per person, with the consent that holds.",
            withheld=shown,
        )


def _once(checked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per customer; of two that differ none counts, and both are for repair."""
    once = checked.unique(maintain_order=True)
    flags = once.group_by("customer_id", maintain_order=True).agg(pl.col(name).any() for name in FLAGS)
    merged = once.drop(FLAGS).unique(maintain_order=True)
    twice = merged.filter(pl.col("customer_id").is_duplicated())["customer_id"].unique(maintain_order=True)
    details = [name for name in merged.columns if name not in {"customer_id", "consent"}]
    torn = pl.col("customer_id").is_in(twice.implode())
    kept = merged.with_columns(pl.when(~torn).then(pl.col(name)).alias(name) for name in details).unique(
        "customer_id", maintain_order=True
    )
    repair = pl.DataFrame({"customer_id": twice}).with_columns(
        what=pl.lit("two rows that differ"), found=pl.lit(None, pl.String)
    )
    return kept.join(flags, on="customer_id", how="left", maintain_order="left"), repair
