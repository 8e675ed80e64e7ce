"""What a fault of an AWS call means: gone at the next try, or never.

Sources: the error lists of Amazon S3 ("Error responses", API Reference) and of the AWS services' common errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tradewind.hooks.errors import (
    AccessDenied,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    PermanentError,
    Throttled,
    TimedOut,
    TradewindError,
    TransientError,
)


class CredentialsExpired(TransientError):
    """Credentials that expired, and that the next call renews."""


class PreconditionFailed(PermanentError):
    """An object is not in the state that a conditional request asked for."""


class ConditionalConflict(TransientError):
    """Another conditional request on the same object was under way."""


_CODES: dict[str, type[TradewindError]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NoSuchUpload", "NotFound", "404"), NotFound),
    **dict.fromkeys(("ResourceNotFoundException", "NoSuchEntity", "ClusterNotFound"), NotFound),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "403"), AccessDenied),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId"), AccessDenied),
    **dict.fromkeys(("UnrecognizedClientException", "UnauthorizedOperation", "AccountProblem"), AccessDenied),
    **dict.fromkeys(("InvalidToken", "MissingAuthenticationToken", "NotSignedUp"), AccessDenied),
    **dict.fromkeys(("SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "503"), Throttled),
    **dict.fromkeys(("RequestLimitExceeded", "TooManyRequestsException", "TooManyRequests", "429"), Throttled),
    **dict.fromkeys(("RequestThrottled", "RequestThrottledException", "BandwidthLimitExceeded"), Throttled),
    **dict.fromkeys(("ServiceUnavailable", "ServiceUnavailableException"), Throttled),
    **dict.fromkeys(("RequestTimeout", "RequestTimeoutException"), TimedOut),
    **dict.fromkeys(("ActiveStatementsExceededException", "ActiveSessionsExceededException"), Throttled),
    **dict.fromkeys(("ActiveWaitingRequestsExceededException",), Throttled),
    **dict.fromkeys(("QueryTimeoutException",), TimedOut),
    **dict.fromkeys(("ValidationException",), InvalidArgument),
    **dict.fromkeys(("PreconditionFailed", "412"), PreconditionFailed),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), ConditionalConflict),
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed", "301"), InvalidArgument),
    **dict.fromkeys(("IllegalLocationConstraintException", "InvalidBucketName", "InvalidArgument"), InvalidArgument),
    **dict.fromkeys(("KeyTooLongError", "EntityTooLarge", "InvalidObjectState", "InvalidRequest"), InvalidArgument),
    **dict.fromkeys(("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"), ConnectionFailed),
}
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
BARE = "400"
"""The code that botocore makes of a refused HEAD, whose answer has no body: an expired token is the usual reason."""

_HINTS = {
    BARE: "bad request (S3 gives a HEAD no reason: credentials that expired are the usual one)",
    "NoSuchBucket": "no such bucket: check the name and the account",
    "NoSuchKey": "no such key",
    "404": "not found",
    "403": "access denied (without the right s3:ListBucket S3 says so of a missing key too)",
    "301": "the bucket is in another region: set region_name",
    "PermanentRedirect": "the bucket is in another region: set region_name",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set region_name",
    "InvalidObjectState": "the object is archived: restore it before reading",
}


def error_code(error: BaseException) -> str:
    """Return the service's code for a fault, as ``NoSuchKey``; empty where the service did not answer."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


def classify(
    error: Exception, what: str, *, refreshable: bool = False, temporary: bool = False
) -> TradewindError | None:
    """Say what a fault of an AWS call means.

    :param error: what botocore, or the stream under it, raised
    :param what: what was being done to which thing, the start of the message
    :param refreshable: whether expired credentials are renewed by themselves
    :param temporary: whether the credentials can expire at all
    :return: one of our errors, or None where the fault is none of AWS's
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    if isinstance(error, ClientError):
        return _of_answer(error.response, what, refreshable, temporary)
    if isinstance(error, BotoCoreError):
        return _of_client(error, what)
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        kind = TimedOut if isinstance(error, TimeoutError) else ConnectionFailed
        return kind(f"{what}: {_short(error)}")
    return None


@contextmanager
def aws_errors(what: str, *, refreshable: bool = False, temporary: bool = False) -> Iterator[None]:
    """Turn the faults of AWS calls in the block into our errors.

    :param what: what is being done to which thing
    :param refreshable: whether expired credentials are renewed by themselves
    :param temporary: whether the credentials can expire at all
    """
    try:
        yield
    except TradewindError:
        raise
    except Exception as error:
        ours = classify(error, what, refreshable=refreshable, temporary=temporary)
        if ours is None:
            raise
        raise ours from error


def _of_answer(response: Any, what: str, refreshable: bool, temporary: bool) -> TradewindError:
    detail = response.get("Error", {})
    code = str(detail.get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    text = f"{what}: {_HINTS.get(code) or _spoken(detail.get('Message'), code)} ({code or status})"
    if code in EXPIRED or (code == BARE and temporary):
        return CredentialsExpired(text) if refreshable else AccessDenied(text)
    kind = _CODES.get(code) or _CODES.get(str(status))
    if kind is None:
        kind = ConnectionFailed if status >= 500 or not status else PermanentError
    return kind(text)


def _of_client(error: Exception, what: str) -> TradewindError:
    from botocore import exceptions as b

    text = f"{what}: {_short(error)}"
    if isinstance(error, (b.NoCredentialsError, b.NoAuthTokenError)):
        return AccessDenied(f"{what}: no credentials: give the connection keys, or run with a role")
    if isinstance(error, (b.PartialCredentialsError, b.UnauthorizedSSOTokenError)):
        return AccessDenied(text)
    if isinstance(error, (b.ConnectTimeoutError, b.ReadTimeoutError)):
        return TimedOut(text)
    transient = (b.HTTPClientError, b.ConnectionError, b.CredentialRetrievalError, b.MetadataRetrievalError)
    broken = (b.IncompleteReadError, b.ChecksumError, b.FlexibleChecksumError)
    if isinstance(error, transient + broken):
        return ConnectionFailed(text)
    return InvalidArgument(text)


def _spoken(message: object, code: str) -> str:
    text = str(message or code or "the service failed").strip().rstrip(".")
    return text[:1].lower() + text[1:500] if text[1:2].islower() else text[:500]


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "..."
