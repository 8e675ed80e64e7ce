"""Whether and how a connection is encrypted: ``ssl_mode`` and the options around it, as MySQL's own clients read them.

https://dev.mysql.com/doc/refman/8.4/en/connection-options.html#option_general_ssl-mode
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from tradewind.hooks.errors import InvalidArgument

Mode = Literal["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"]
MODES: tuple[str, ...] = get_args(Mode)

# The keys of the extra's "ssl" (those of mysqlclient and of PyMySQL), and beside it (those of mysql-connector-python).
_FILES = ("ca", "capath", "cert", "key")
_INNER = frozenset((*_FILES, "cipher", "password", "check_hostname", "verify_mode"))
TLS_KEYS = frozenset(
    (
        "ssl",
        "ssl_mode",
        "ssl_ca",
        "ssl_capath",
        "ssl_cert",
        "ssl_key",
        "ssl_key_password",
        "ssl_cipher",
        "ssl_disabled",
        "ssl_verify_cert",
        "ssl_verify_identity",
    )
)


@dataclass(frozen=True)
class Tls:
    """How a connection is encrypted.

    :param mode: DISABLED, PREFERRED (where the server can), REQUIRED, VERIFY_CA or VERIFY_IDENTITY
    :param options: files and ciphers, by the names that ``ssl`` has for them
    """

    mode: Mode = "PREFERRED"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def required(self) -> bool:
        """Whether a server without TLS is refused."""
        return self.mode not in ("DISABLED", "PREFERRED")

    def context(self) -> ssl.SSLContext | None:
        """Make the context to connect with, None for no TLS.

        :raises InvalidArgument: where a file is not there, or is no certificate or key
        """
        if self.mode == "DISABLED":
            return None
        given = dict(self.options)
        for name in _FILES:
            if name in given and not os.path.exists(given[name]):
                raise InvalidArgument(f"ssl {name} {given[name]!r} is not there: give a path that the worker has")
        try:
            return self._made(given)
        except (ssl.SSLError, OSError) as error:
            shown = ", ".join(f"{name} {given[name]!r}" for name in _FILES if name in given)
            raise InvalidArgument(f"{shown or 'ssl'} cannot be used: {getattr(error, 'reason', error)}") from None

    def _made(self, given: Mapping[str, str]) -> ssl.SSLContext:
        verifies = self.mode.startswith("VERIFY")
        if verifies or "ca" in given or "capath" in given:
            # Without a CA of its own, the system's are trusted.
            context = ssl.create_default_context(cafile=given.get("ca"), capath=given.get("capath"))
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the system's takes as long as all of connecting
        # A server's self-made certificates (MySQL's, RDS's old ones) lack what the strict check asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.mode == "VERIFY_IDENTITY"
        context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
        if "cert" in given:
            context.load_cert_chain(given["cert"], given.get("key"), given.get("password", ""))
        if "cipher" in given:
            context.set_ciphers(given["cipher"])
        return context


def read_tls(extra: Mapping[str, Any]) -> Tls:
    """Read the TLS options of a connection's extra.

    :param extra: ``ssl`` (a mapping, JSON text, or true), ``ssl_mode``, ``ssl_ca`` ...
    :return: the mode and the files; without ``ssl_mode`` a CA means VERIFY_CA, any other option REQUIRED, and none
        PREFERRED
    :raises InvalidArgument: for what is unknown or contradicts itself
    """
    inner = _inner(extra.get("ssl"))
    beside = {name.removeprefix("ssl_"): extra[name] for name in TLS_KEYS - {"ssl"} if _is_given(extra.get(name))}
    options = {**{name: value for name, value in inner.items() if _is_given(value)}, **beside}
    asked = options.pop("mode", None)
    options |= {"password": options.pop("key_password")} if "key_password" in options else {}
    mode = _mode(asked) if asked is not None else _implied(options)
    files = {name: _text(name, options[name]) for name in (*_FILES, "cipher", "password") if name in options}
    wanted = [name for name in ("ca", "capath", "cert", "key") if name in files]
    if mode == "DISABLED" and wanted:
        raise InvalidArgument(f"TLS is disabled, but ssl {wanted[0]} is given: leave one of them out")
    if "key" in files and "cert" not in files:
        raise InvalidArgument("ssl key is given without ssl cert: a key needs its certificate")
    return Tls(mode, tuple(files.items()))


def _implied(options: Mapping[str, Any]) -> Mode:
    if _flag(options, "disabled"):
        return "DISABLED"
    if _flag(options, "verify_identity") or _flag(options, "check_hostname"):
        return "VERIFY_IDENTITY"
    verify = options.get("verify_mode", options.get("verify_cert"))
    off = verify is not None and str(verify).lower() in ("none", "0", "false", "no")
    if ("ca" in options or "capath" in options or verify is not None) and not off:
        return "VERIFY_CA"
    return "REQUIRED" if options else "PREFERRED"


def _inner(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise InvalidArgument(f"ssl must be a mapping or JSON text of one, as {_EXAMPLE}") from None
    if value is True:
        return {"mode": "REQUIRED"}
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"ssl must be a mapping, as {_EXAMPLE}, not {type(value).__name__}")
    unknown = sorted(str(name) for name in value if name not in _INNER)
    if unknown:
        raise InvalidArgument(f"ssl has an unknown key {unknown[0]!r}: use {', '.join(sorted(_INNER))}")
    return dict(value)


def _mode(value: Any) -> Mode:
    name = str(value).upper().replace("-", "_")
    if name not in MODES:
        raise InvalidArgument(f"unknown ssl_mode {value!r}: use {', '.join(MODES)}")
    return cast("Mode", name)


def _flag(options: Mapping[str, Any], name: str) -> bool:
    return str(options.get(name, "")).lower() in ("1", "true", "yes", "required")


def _is_given(value: Any) -> bool:
    return value is not None and value != ""


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"ssl {name} must be a text, not {type(value).__name__}")
    return value


_EXAMPLE = '{"ca": "/path/ca.pem"}'
