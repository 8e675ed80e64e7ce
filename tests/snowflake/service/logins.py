"""Who may log in: passwords, key pairs, OAuth and programmatic access tokens are checked for real."""

from __future__ import annotations

import base64
import hashlib
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NUMBERS = itertools.count(int(time.time()) * 1000)


class Refused(Exception):
    """A login that the service does not take.

    :param code: the service's number
    :param message: its words
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Session:
    """One session of one user; the connection is fakesnow's."""

    user: str
    token: str
    connection: Any
    role: str = "SYSADMIN"
    warehouse: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    temporary: set[str] = field(default_factory=set)
    stages: set[tuple[str, ...]] = field(default_factory=set)
    id: int = field(default_factory=lambda: next(_NUMBERS))

    @property
    def database(self) -> str | None:
        return str(self.connection.database) if self.connection.database else None

    @property
    def schema(self) -> str | None:
        return str(self.connection.schema) if self.connection.schema else None


def check(users: Mapping[str, Mapping[str, str]], account: str, data: Mapping[str, Any]) -> str:
    """Check a login.

    :param users: by name in upper case: ``password``, ``public_key`` (PEM), ``oauth``, ``pat``
    :param account: the account's name
    :param data: what the client sent
    :return: the user's name
    :raises Refused: with the service's number
    """
    authenticator = str(data.get("AUTHENTICATOR") or "SNOWFLAKE").upper()
    token = str(data.get("TOKEN") or "")
    name = str(data.get("LOGIN_NAME") or "").upper()
    if authenticator == "OAUTH":
        found = next((user for user, known in users.items() if token and known.get("oauth") == token), None)
        if found is None or name not in ("", found):
            raise Refused("390303", "Invalid OAuth access token. ")
        return found
    known = users.get(name, {})
    if authenticator == "SNOWFLAKE_JWT":
        _check_jwt(token, known.get("public_key"), account, name)
    elif authenticator == "PROGRAMMATIC_ACCESS_TOKEN":
        if not token or known.get("pat") != token:
            raise Refused("394400", "Programmatic access token is invalid.")
    else:
        password = str(data.get("PASSWORD") or "")
        if not password or password not in (known.get("password"), known.get("pat")):
            raise Refused("390100", "Incorrect username or password was specified.")
    return name


def _check_jwt(token: str, public_key: str | None, account: str, user: str) -> None:
    import jwt
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    invalid = Refused("390144", "JWT token is invalid.")
    if not public_key:
        raise invalid
    key = load_pem_public_key(public_key.encode())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    print_ = base64.b64encode(hashlib.sha256(der).digest()).decode()
    try:
        claims = jwt.decode(token, key, algorithms=["RS256"], options={"require": ["iss", "sub", "iat", "exp"]})  # type: ignore[arg-type]
    except jwt.PyJWTError as error:
        raise invalid from error
    subject = f"{account.upper()}.{user}"
    if claims["sub"] != subject or claims["iss"] != f"{subject}.SHA256:{print_}":
        raise invalid
    if claims["exp"] - claims["iat"] > 3600:
        raise invalid
