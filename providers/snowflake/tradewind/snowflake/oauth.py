"""Access tokens that an OAuth server gives for a refresh token or for a client's own credentials."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from tradewind.hooks.errors import AccessDenied, ConnectionFailed, InvalidArgument

GRANTS = {
    "refresh_token": ("refresh_token",),
    "client_credentials": (),
    "password": ("oauth_username", "oauth_password"),
}
TIMEOUT = 30.0
TRIES = 3


def request_token(extra: Mapping[str, Any], account: str | None) -> str:
    """Ask for an access token.

    :param extra: ``client_id``, ``client_secret``, ``grant_type``, ``token_endpoint``, ``refresh_token``, ``scope``
    :param account: whose own endpoint is asked where none is given
    :raises AccessDenied: where the server refuses
    :raises ConnectionFailed: where it does not answer
    """
    grant = str(extra.get("grant_type") or ("refresh_token" if extra.get("refresh_token") else "client_credentials"))
    if grant not in GRANTS:
        raise InvalidArgument(f"grant_type {grant!r} is unknown: use one of {', '.join(GRANTS)}")
    wanted = ("client_id", "client_secret", *GRANTS[grant])
    if missing := [name for name in wanted if not extra.get(name)]:
        raise InvalidArgument(f"OAuth with grant_type {grant} needs {', '.join(missing)} in the connection's extra")
    url = str(extra.get("token_endpoint") or f"https://{account}.snowflakecomputing.com/oauth/token-request")
    if urlsplit(url).scheme not in ("https", "http"):
        raise InvalidArgument(f"token_endpoint {url} is no http address")
    form = {"grant_type": grant, "redirect_uri": str(extra.get("redirect_uri") or "https://localhost.com")}
    if extra.get("scope"):
        form["scope"] = str(extra["scope"])
    if grant == "refresh_token":
        form["refresh_token"] = str(extra["refresh_token"])
    elif grant == "password":
        form |= {"username": str(extra["oauth_username"]), "password": str(extra["oauth_password"])}
    pair = f"{extra['client_id']}:{extra['client_secret']}".encode()
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return _ask(Request(url, urlencode(form).encode(), headers))  # noqa: S310 (the scheme was looked at)


def _ask(request: Request) -> str:
    where = urlsplit(request.full_url).netloc
    for attempt in range(1, TRIES + 1):
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                return str(json.load(answer)["access_token"])
        except HTTPError as error:
            if error.code < 500:
                raise AccessDenied(f"the OAuth server {where} refused a token: HTTP {error.code}") from None
            reason = f"HTTP {error.code}"
        except (URLError, TimeoutError, OSError) as error:
            reason = str(getattr(error, "reason", error))
        except (KeyError, ValueError):
            raise AccessDenied(f"the OAuth server {where} answered without an access token") from None
        if attempt < TRIES:
            time.sleep(2.0 ** (attempt - 1))
    raise ConnectionFailed(f"the OAuth server {where} gave no token in {TRIES} tries: {reason}")
