"""Texts that exports write where there is nothing."""

__all__ = ["BLANK_PATTERN", "BLANK_WORDS"]

BLANK_WORDS = (
    *(
        "",
        "-",
        "--",
        "---",
        "–",
        "—",
        "\\n",
        "\\\\n",
        "nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "n.a.",
        "n/d",
        "k.a.",
        "nat",
    ),
    *("#n/a", "#nv", "#n/v", "<na>", "<null>", "(null)", "(none)", "(blank)", "(empty)", "(leer)"),
)
r"""In lower case, without blanks around them; ``\N`` is how databases write it."""
BLANK_PATTERN = (
    r"(?i:nan|none|null|nil|na|n/a|n\.a\.|n/d|k\.a\.|nat|\#n/a|\#nv|\#n/v|<na>|<null>"
    r"|\((?:null|none|blank|empty|leer)\)|\\{1,2}n|-{1,3}|–|—)?"
)
"""The same as part of a regular expression."""
