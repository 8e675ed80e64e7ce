"""What every AWS hook shares: credentials, clients, time-outs, retries."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tradewind.amazon.connection import AwsSettings
from tradewind.amazon.errors import aws_errors
from tradewind.hooks.compat import AirflowNotFoundException, BaseHook
from tradewind.hooks.errors import InvalidArgument, NotFound, TradewindError

if TYPE_CHECKING:
    import boto3.session
    from botocore.config import Config
    from botocore.credentials import CredentialResolver

DEFAULT_CONN_ID = "aws_default"

CONNECT_TIMEOUT = 10
"""Seconds until a connection must stand."""

READ_TIMEOUT = 60
"""Seconds without a byte after which a call is given up."""

ATTEMPTS = 6
"""How often a call is tried in all, with botocore's backoff in between."""


class AwsHook(BaseHook):
    """Make boto3 clients from an Airflow connection of type ``aws``, or from the default credential chain.

    Without a connection (``None``, or ``aws_default`` that nobody defined) the credentials are the ones boto3 finds: on
    Amazon MWAA the environment's execution role.

    :param aws_conn_id: the connection, None for the default credential chain
    :param region_name: the region, instead of the connection's
    :param verify: whether to check certificates or a CA bundle's path, instead of the connection's
    :param config: botocore's Config, or its keyword arguments; wins over the connection's ``config_kwargs``
    :param client_type: the service that :meth:`get_conn` connects to, by default the hook's own
    """

    conn_name_attr = "aws_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "aws"
    hook_name = "Amazon Web Services"
    service: ClassVar[str] = "sts"

    def __init__(
        self,
        aws_conn_id: str | None = DEFAULT_CONN_ID,
        *,
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | Mapping[str, Any] | None = None,
        client_type: str | None = None,
    ) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.client_type = client_type or self.service
        self._region_name = region_name
        self._verify = verify
        self._config = config
        self._clients: dict[str, Any] = {}
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what does not travel between processes, secrets first of all."""
        left_out = {"_clients", "_lock", "settings", "session", "_log"}
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clients = {}
        self._lock = threading.RLock()

    @cached_property
    def settings(self) -> AwsSettings:
        """What the connection says.

        :raises NotFound: where the connection is not defined
        :raises InvalidArgument: where it cannot work
        """
        if not self.aws_conn_id:
            return AwsSettings()
        try:
            connection = self.get_connection(self.aws_conn_id)
        except AirflowNotFoundException as error:
            if self.aws_conn_id != DEFAULT_CONN_ID:
                raise NotFound(
                    f"connection {self.aws_conn_id} is not defined: define it, or give aws_conn_id=None for the"
                    " credentials of the environment"
                ) from error
            self.log.debug("connection %s is not defined: using the credentials of the environment", DEFAULT_CONN_ID)
            return AwsSettings()
        return AwsSettings.from_connection(connection)

    @cached_property
    def session(self) -> boto3.session.Session:
        """The boto3 session: it holds the credentials and renews a role's before they expire."""
        base = self._base_session()
        return self._assumed(base) if self.settings.role_arn else base

    @property
    def region_name(self) -> str | None:
        """The region that clients are made for, None where nobody named one."""
        region: str | None = self._region_name or self.settings.region or self.session.region_name
        return region

    def client(self, service: str | None = None) -> Any:
        """Return the client of a service, made once for each hook; boto3's clients may be shared by threads.

        :param service: boto3's name of the service, the hook's own by default
        """
        service = service or self.client_type
        with self._lock:
            if service not in self._clients:
                with self.errors(f"client of {service}"):
                    session: Any = self.session  # its stubs know each service's client by a literal name
                    self._clients[service] = session.client(service, **self._client_arguments(service))
            return self._clients[service]

    def get_conn(self) -> Any:
        """Return the client of the hook's own service."""
        return self.client()

    def errors(self, what: str) -> AbstractContextManager[None]:
        """Turn the faults of AWS calls in the block into our errors.

        :param what: what is being done to which thing
        """
        settings = self.__dict__.get("settings") or AwsSettings(access_key="")
        return aws_errors(what, refreshable=settings.refreshable, temporary=settings.temporary)

    def reaches_as(self, other: AwsHook) -> bool:
        """Say whether another hook has the same connection and region, and so sees the same things."""
        return (self.aws_conn_id, self._region_name) == (other.aws_conn_id, other._region_name)

    def test_connection(self) -> tuple[bool, str]:
        """Ask STS who we are.

        :return: whether it worked, and a sentence that says so
        """
        try:
            with self.errors("sts get-caller-identity"):
                identity = self.client("sts").get_caller_identity()
        except TradewindError as error:
            return False, str(error)
        return True, f"connected as {identity['Arn']}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection's form."""
        example = {
            "region_name": "eu-west-1",
            "role_arn": "arn:aws:iam::123456789012:role/data",
            "external_id": "optional",
            "endpoint_url": "http://localhost:5000",
            "config_kwargs": {"read_timeout": 120},
            "service_config": {"s3": {"endpoint_url": "http://localhost:5000"}},
        }
        return {
            "hidden_fields": ["host", "schema", "port"],
            "relabeling": {"login": "AWS Access Key ID", "password": "AWS Secret Access Key"},
            "placeholders": {
                "login": "empty: the role of the environment",
                "password": "empty: the role of the environment",
                "extra": _json(example),
            },
        }

    def _base_session(self) -> boto3.session.Session:
        import boto3.session

        settings = self.settings
        with self.errors("session"):
            return boto3.session.Session(
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                aws_session_token=settings.session_token if settings.access_key else None,
                region_name=self._region_name or settings.region,
                profile_name=settings.profile,
            )

    def _assumed(self, base: boto3.session.Session) -> boto3.session.Session:
        import boto3.session
        import botocore.session

        sts = base.client("sts", **self._client_arguments("sts"))
        inner = botocore.session.Session()
        inner.register_component("credential_provider", _role_credentials(sts, self.settings, self.errors))
        return boto3.session.Session(botocore_session=inner, region_name=base.region_name)

    def _client_arguments(self, service: str) -> dict[str, Any]:
        settings = self.settings
        verify = settings.verify if self._verify is None else self._verify
        return {
            "config": self._client_config(),
            "endpoint_url": settings.endpoint(service),
            **({} if verify is None else {"verify": verify}),
        }

    def _client_config(self) -> Config:
        from botocore.config import Config

        config = make_config(default_config())
        config = config.merge(make_config(self.settings.config))
        if self._config is None:
            return config
        mine = self._config if isinstance(self._config, Config) else make_config(self._config)
        return config.merge(mine)


def default_config() -> dict[str, Any]:
    """Return the keyword arguments of botocore's Config that every client starts from.

    Checksums are calculated as botocore does by default (CRC32 of what is uploaded, which S3 verifies).
    """
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "tcp_keepalive": True,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        "user_agent_extra": "tradewind",
    }


def make_config(arguments: Mapping[str, Any]) -> Config:
    """Make botocore's Config.

    :param arguments: its keyword arguments; ``signature_version`` may be the word ``unsigned``
    :raises InvalidArgument: where this botocore does not know one
    """
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    arguments = dict(arguments)
    if arguments.get("signature_version") == "unsigned":
        arguments["signature_version"] = UNSIGNED
    try:
        return Config(**arguments)
    except (TypeError, ValueError, BotoCoreError) as error:
        raise InvalidArgument(f"config_kwargs: {error}") from error


def _role_credentials(sts: Any, settings: AwsSettings, errors: Any) -> CredentialResolver:
    """Build the chain of one provider that gives the role's credentials and renews them when they near their end."""
    from botocore.credentials import CredentialProvider, CredentialResolver, DeferredRefreshableCredentials

    arguments = {"RoleSessionName": _session_name(), **settings.role_arguments, "RoleArn": settings.role_arn}

    def assume() -> dict[str, str]:
        with errors(f"assume role {settings.role_arn}"):
            found = sts.assume_role(**arguments)["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    class AssumedRole(CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> DeferredRefreshableCredentials:
            return DeferredRefreshableCredentials(refresh_using=assume, method=self.METHOD)

    return CredentialResolver([AssumedRole()])


def _session_name() -> str:
    """Name the session after the DAG, so that CloudTrail shows it (STS: 2 to 64 of ``[\\w+=,.@-]``)."""
    dag_id = re.sub(r"[^\w+=,.@-]", "-", os.environ.get("AIRFLOW_CTX_DAG_ID", ""), flags=re.ASCII)
    return f"airflow-{dag_id}"[:64].rstrip("-")


def _json(value: Any) -> str:
    import json

    return json.dumps(value, indent=1)
