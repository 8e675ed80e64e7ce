"""Texts in COPY and UNLOAD: options, roles, folders."""

from __future__ import annotations

from tradewind.amazon.s3.locations import parse_s3_url
from tradewind.hooks.errors import InvalidArgument
from tradewind.operators.templates import templated

MOST_ERRORS = 99_999
"""How many records a COPY may refuse and go on: it fails at the number that MAXERROR says, of 100,000 at most."""


def option(text: str) -> str:
    """Quote a text as an option of COPY, in which a backslash escapes.

    :param text: any text without NUL
    """
    if "\0" in text:
        raise InvalidArgument("an option of COPY holds no NUL byte")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def authorization(iam_role: str) -> str:
    """Write which role reads or writes the objects.

    :param iam_role: ``default``, or the ARNs of roles, the first of which assumes the next
    """
    return "IAM_ROLE default" if iam_role == "default" else f"IAM_ROLE {option(iam_role)}"


def check_staging(staging: object) -> None:
    """Refuse what is no folder of S3.

    :raises InvalidArgument: with what to write
    """
    if not isinstance(staging, str) or not staging:
        raise InvalidArgument('staging is missing: name a folder of S3 for files in between, as "s3://bucket/staging/"')
    if templated(staging):
        return
    key = parse_s3_url(staging).key
    if key and not key.endswith("/"):
        raise InvalidArgument(f"staging must be a folder, whose name ends with /, not {staging!r}")
    if any(sign in staging for sign in "\\'\n\r*?{}"):
        raise InvalidArgument(f"staging must hold no quotes, backslashes, braces or wildcards: {staging!r}")
