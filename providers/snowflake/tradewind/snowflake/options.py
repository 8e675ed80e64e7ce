"""What a connection of Airflow's asks of Snowflake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument
from tradewind.hooks.nearest import nearest

if TYPE_CHECKING:
    from tradewind.hooks.compat import Connection

PREFIX = "extra__snowflake__"
LOGIN_TIMEOUT, NETWORK_TIMEOUT = 60, 120
"""Seconds in which a login, and the repeats of one request, must have come to something."""
PLACES = ("account", "region", "warehouse", "database", "schema", "role")
KEYS_OF_USERS = ("private_key_file", "private_key_content", "private_key_passphrase")
TOKENS = ("token", "programmatic_access_token")
OAUTH = (
    "client_id", "client_secret", "grant_type", "oauth_password", "oauth_username", "redirect_uri", "refresh_token",
    "scope", "token_endpoint",
)  # fmt: skip
WORKLOAD = (
    "workload_identity_entra_resource", "workload_identity_impersonation_path", "workload_identity_provider",
)  # fmt: skip
# What goes to the connector as it is.
HANDED_ON = (
    "client_prefetch_threads", "client_request_mfa_token", "client_session_keep_alive",
    "client_store_temporary_credential", "login_timeout", "network_timeout", "no_proxy", "ocsp_fail_open", "passcode",
    "passcode_in_password", "proxy_host", "proxy_password", "proxy_port", "proxy_user", "timezone", *WORKLOAD,
)  # fmt: skip
OWN = (
    "authenticator", "dialect", "disable_ocsp_checks", "escape_column_names", "escape_word_format", "host",
    "insecure_mode", "insert_statement_format", "placeholder", "port", "protocol", "query_tag",
    "replace_statement_format", "session_parameters",
)  # fmt: skip
KNOWN = frozenset((*PLACES, *KEYS_OF_USERS, *TOKENS, *OAUTH, *HANDED_ON, *OWN))
_NUMBERS = ("login_timeout", "network_timeout", "proxy_port", "client_prefetch_threads")
_FLAGS = (
    "client_request_mfa_token", "client_session_keep_alive", "client_store_temporary_credential", "ocsp_fail_open",
    "passcode_in_password",
)  # fmt: skip
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]+")
_HOSTS = (".snowflakecomputing.com", ".snowflakecomputing.cn")


@dataclass(frozen=True)
class Options:
    """How to connect; what is secret is not in its repr.

    :param connect: the connector's own arguments, but for what is secret
    :param secret: those that are, and the texts that no message may show
    :param session_parameters: parameters of the session, by their names in upper case
    :param key: where the private key comes from: path, text, passphrase
    :param oauth: what an OAuth server is asked with
    :param checks_revocation: whether a certificate that was revoked is refused
    """

    connect: Mapping[str, Any]
    secret: Mapping[str, Any] = field(default_factory=dict, repr=False)
    session_parameters: Mapping[str, Any] = field(default_factory=dict)
    key: tuple[str | None, str | None, str | None] | None = field(default=None, repr=False)
    oauth: Mapping[str, Any] | None = field(default=None, repr=False)
    checks_revocation: bool = True

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        found = [*self.secret.values(), *(self.key or ())[1:], *self._of_oauth()]
        return tuple(each for each in found if isinstance(each, str) and each)

    def _of_oauth(self) -> list[Any]:
        return [(self.oauth or {}).get(name) for name in ("client_secret", "refresh_token", "oauth_password")]


def read_options(connection: Connection, overrides: Mapping[str, Any]) -> Options:
    """Make the options to connect with.

    :param connection: Airflow's connection; in its extra a name may have the prefix ``extra__snowflake__``
    :param overrides: options that win over the connection's; None stands for none
    :raises InvalidArgument: for what the hook does not know, or a value that cannot work
    """
    extra = {**_plain(connection.extra_dejson), **{name: each for name, each in overrides.items() if each is not None}}
    for name in extra:
        if name not in KNOWN:
            near = nearest(name, KNOWN)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise InvalidArgument(f"connection {connection.conn_id} has an unknown option {name!r}{hint}")
    given = {name: value for name, value in extra.items() if value not in (None, "")}
    connect = _place(connection, given) | {
        name: _read(name, given[name]) for name in HANDED_ON if name in given and name != "proxy_password"
    }
    connect.setdefault("login_timeout", LOGIN_TIMEOUT)
    connect.setdefault("network_timeout", NETWORK_TIMEOUT)
    secret = {"proxy_password": given["proxy_password"]} if "proxy_password" in given else {}
    authenticator, more, key, oauth = _credentials(connection, given)
    return Options(
        connect={**connect, "user": connection.login or "", "authenticator": authenticator},
        secret={**secret, **more},
        session_parameters=_session_parameters(given),
        key=key,
        oauth=oauth,
        checks_revocation=not (_flag(given, "insecure_mode") or _flag(given, "disable_ocsp_checks")),
    )


def _plain(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Take the old prefix off; a name without it wins."""
    old = {name.removeprefix(PREFIX): value for name, value in extra.items() if name.startswith(PREFIX)}
    return {**old, **{name: value for name, value in extra.items() if not name.startswith(PREFIX)}}


def _place(connection: Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    host = str(given.get("host") or connection.host or "")
    account = str(given.get("account") or "")
    for ending in _HOSTS:
        if not account and host.endswith(ending):
            account = host.removesuffix(ending)
    if not account:
        raise InvalidArgument(f'connection {connection.conn_id} names no account: set "account" in its extra')
    region = str(given.get("region") or "")
    for name, value in (("account", account), ("region", region)):
        if value and not _ACCOUNT.fullmatch(value):
            raise InvalidArgument(
                f"connection {connection.conn_id}: {name} {value!r} may hold letters, digits, '.', '_' and '-' alone,"
                " no address"
            )
    made: dict[str, Any] = {"account": f"{account}.{region}" if region and "." not in account else account}
    if host:
        made["host"] = host
    port = given.get("port") or connection.port
    made |= {"port": int(port)} if port else {}
    made |= {"protocol": given["protocol"]} if "protocol" in given else {}
    places = {"schema": connection.schema, **given}
    return made | {name: places[name] for name in ("warehouse", "database", "schema", "role") if places.get(name)}


def _credentials(
    connection: Connection, given: Mapping[str, Any]
) -> tuple[str, dict[str, Any], tuple[Any, Any, Any] | None, dict[str, Any] | None]:
    """Return the authenticator, its secrets, where its key comes from, and what its OAuth server is asked with."""
    wanted = str(given.get("authenticator") or "")
    kind = wanted.lower()
    password = connection.password or None
    path, content = given.get("private_key_file"), given.get("private_key_content")
    if path and content:
        raise InvalidArgument("private_key_file and private_key_content are both given: give one of them")
    if (path or content) and kind in ("", "snowflake", "snowflake_jwt"):
        return "SNOWFLAKE_JWT", {}, (path, content, given.get("private_key_passphrase") or password), None
    if kind == "snowflake_jwt":
        raise InvalidArgument("authenticator SNOWFLAKE_JWT needs private_key_file or private_key_content")
    token = given.get("programmatic_access_token") or given.get("token")
    if "programmatic_access_token" in given or kind == "programmatic_access_token":
        if not (token or password):
            raise InvalidArgument(
                "a programmatic access token is missing: set it as password, or as token in the extra"
            )
        return "PROGRAMMATIC_ACCESS_TOKEN", {"token": token or password}, None, None
    if kind == "oauth" or (token and not kind):
        if token:
            return "OAUTH", {"token": token}, None, None
        return "OAUTH", {}, None, {name: given[name] for name in OAUTH if name in given}
    if kind == "workload_identity":
        return "WORKLOAD_IDENTITY", {"token": token} if token else {}, None, None
    if kind == "externalbrowser":
        raise InvalidArgument("authenticator externalbrowser opens a browser: a worker has none; use a key pair")
    if not password:
        raise InvalidArgument(
            f"connection {connection.conn_id} has no credentials: set its password, private_key_file,"
            " private_key_content or token"
        )
    return wanted or "snowflake", {"password": password}, None, None


def _session_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    asked = given.get("session_parameters") or {}
    if not isinstance(asked, Mapping):
        raise InvalidArgument(f"session_parameters must be a mapping, not {type(asked).__name__}")
    made = {str(name).upper(): value for name, value in asked.items()}
    return made | ({"QUERY_TAG": str(given["query_tag"])} if "query_tag" in given else {})


def _read(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return _flag({name: value}, name)
    if name not in _NUMBERS:
        return value
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number < 1:
        raise InvalidArgument(f"{name} must be a whole number above 0, not {value!r}")
    return number


def _flag(given: Mapping[str, Any], name: str) -> bool:
    text = str(given.get(name, "false")).lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"{name} must be true or false, not {given[name]!r}")
    return text in ("true", "1")
