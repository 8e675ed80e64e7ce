"""Private keys of users: from a file, as PEM text, or in base64, with a passphrase or without one."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from tradewind.hooks.errors import InvalidArgument, NotFound

_BEGIN = "-----BEGIN"


def load_key(path: str | None, content: str | None, passphrase: str | None) -> bytes:
    """Read a private key.

    :param path: a PEM or DER file
    :param content: the key itself: PEM, its lines perhaps run together by ``\\n``, or base64 of PEM or of DER
    :param passphrase: what it is encrypted with
    :return: the key as unencrypted DER, which every version of the connector takes
    :raises InvalidArgument: where it cannot be read; the key is never shown
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.hazmat.primitives.serialization import load_der_private_key as load_der
    from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_pem

    what = f"private_key_file {path}" if path else "private_key_content"
    data = _read(path) if path else _decode(content or "")
    secret = passphrase.encode() if passphrase else None
    load = load_pem if data.lstrip().startswith(_BEGIN.encode()) else load_der
    try:
        key = load(data, secret)
    except TypeError as error:
        if "not encrypted" in str(error):
            key = load(data, None)
        else:
            raise InvalidArgument(f"{what} is encrypted: give its passphrase as the connection's password") from None
    except ValueError:
        wrong = "a wrong passphrase, or no private key in PEM, DER or base64" if secret else "no private key"
        raise InvalidArgument(f"{what} cannot be read: {wrong}") from None
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except FileNotFoundError:
        raise NotFound(f"private_key_file {path} does not exist on this worker") from None
    except OSError as error:
        raise InvalidArgument(f"private_key_file {path} cannot be read: {error.strerror}") from None


def _decode(content: str) -> bytes:
    text = content.strip().replace("\\n", "\n")
    if text.startswith(_BEGIN):
        return text.encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("private_key_content is neither PEM text nor base64") from None
