"""What an Airflow connection of type ``aws`` says, read once and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradewind.hooks.errors import InvalidArgument

if TYPE_CHECKING:
    from tradewind.hooks.compat import Connection


SESSION = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region_name", "profile_name")
"""What ``session_kwargs`` may hold: arguments of boto3's Session."""


@dataclass(frozen=True)
class AwsSettings:
    """The settings of an ``aws`` connection; secrets stay out of its repr.

    :param access_key: the access key's id, None for the default credential chain
    :param secret_key: the secret access key
    :param session_token: the token that belongs to temporary keys
    :param region: the region, None for what the environment says
    :param profile: a profile of the AWS configuration files
    :param endpoint_url: where every service is, None for AWS itself
    :param endpoints: where single services are, by service name
    :param role_arn: the role to assume
    :param role_arguments: further arguments of STS AssumeRole (``ExternalId``, ``DurationSeconds`` ...)
    :param config: keyword arguments of botocore's Config
    :param verify: whether to check certificates, or the path of a CA bundle
    """

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None
    role_arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    verify: bool | str | None = None

    @property
    def temporary(self) -> bool:
        """Whether credentials may expire while they are used."""
        return self.refreshable or self.session_token is not None

    @property
    def refreshable(self) -> bool:
        """Whether credentials are renewed when they expire: a role's are, keys given in the connection are not."""
        return self.role_arn is not None or self.access_key is None

    def endpoint(self, service: str) -> str | None:
        """Return where a service is, None for AWS itself."""
        return self.endpoints.get(service) or self.endpoint_url

    @classmethod
    def from_connection(cls, connection: Connection) -> AwsSettings:
        """Read a connection.

        :param connection: keys in login and password or in the extra, all else in the extra
        :raises InvalidArgument: where a setting cannot work
        """
        extra = _extra(connection)
        session = _session(extra, connection)
        access, secret = _keys(connection.login, connection.password, extra, session)
        if bool(access) != bool(secret):
            missing = "secret access key (password)" if access else "access key id (login)"
            raise InvalidArgument(
                f"connection {connection.conn_id} has no {missing}: give both keys, or none for a role"
            )
        return cls(
            access_key=access,
            secret_key=secret,
            session_token=extra.get("aws_session_token") or session.get("aws_session_token"),
            region=extra.get("region_name") or session.get("region_name"),
            profile=extra.get("profile_name") or session.get("profile_name"),
            endpoint_url=_endpoint(extra.get("endpoint_url"), connection),
            endpoints=_service_endpoints(extra, connection),
            role_arn=extra.get("role_arn") or None,
            role_arguments=_role_arguments(extra, connection),
            config=_mapping(extra, "config_kwargs", connection),
            verify=_verify(extra.get("verify")),
        )


def _extra(connection: Connection) -> dict[str, Any]:
    if not connection.extra:
        return {}
    try:
        extra = json.loads(connection.extra)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        # "from None": json's error quotes the text, which may hold a secret
        raise InvalidArgument(f"the extra of connection {connection.conn_id} is not a JSON object") from None
    return extra


def _keys(
    login: str | None, password: str | None, extra: Mapping[str, Any], session: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Return the keys as a pair of one place, so that an id never meets the secret of another."""
    pairs = [(login, password)]
    pairs += [(place.get("aws_access_key_id"), place.get("aws_secret_access_key")) for place in (extra, session)]
    access, secret = next((pair for pair in pairs if any(pair)), (None, None))
    return access or None, secret or None


def _session(extra: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    given = _mapping(extra, "session_kwargs", connection)
    if unknown := sorted(set(given) - set(SESSION)):
        raise InvalidArgument(
            f"session_kwargs of connection {connection.conn_id} has unknown keys: {', '.join(unknown)}:"
            f" use {', '.join(SESSION)}"
        )
    return given


def _mapping(extra: Mapping[str, Any], name: str, connection: Connection) -> dict[str, Any]:
    value = extra.get(name) or {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} of connection {connection.conn_id} must be a JSON object") from None
    return value


def _endpoint(value: Any, connection: Connection) -> str | None:
    if not value:
        return None
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise InvalidArgument(f"endpoint_url of connection {connection.conn_id} must start with http:// or https://")
    return value


def _service_endpoints(extra: Mapping[str, Any], connection: Connection) -> dict[str, str]:
    services = _mapping(extra, "service_config", connection)
    found = {name: _endpoint(_mapping(services, name, connection).get("endpoint_url"), connection) for name in services}
    return {name: url for name, url in found.items() if url}


def _role_arguments(extra: Mapping[str, Any], connection: Connection) -> dict[str, Any]:
    method = extra.get("assume_role_method") or "assume_role"
    if method != "assume_role":
        raise InvalidArgument(
            f"assume_role_method {method!r} of connection {connection.conn_id} is not supported: use assume_role,"
            " or a profile_name whose profile names the web identity or SAML provider"
        )
    arguments = _mapping(extra, "assume_role_kwargs", connection)
    if extra.get("external_id"):
        arguments.setdefault("ExternalId", extra["external_id"])
    return arguments


def _verify(value: Any) -> bool | str | None:
    if isinstance(value, str):
        return {"": None, "true": True, "false": False}.get(value.strip().lower(), value)
    return value if isinstance(value, bool) else None
