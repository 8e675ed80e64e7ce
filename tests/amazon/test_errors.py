"""What faults of AWS calls mean: which are gone at the next try, and which never."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tradewind.amazon.errors import (
    ConditionalConflict,
    CredentialsExpired,
    PreconditionFailed,
    aws_errors,
    classify,
    error_code,
)
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


def answer(code: str, status: int = 400, message: str = "Some words.") -> Any:
    from botocore.exceptions import ClientError

    error: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(error, "GetObject")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, NotFound),
        ("NoSuchBucket", 404, NotFound),
        ("NoSuchUpload", 404, NotFound),
        ("404", 404, NotFound),
        ("SomethingNew", 404, NotFound),
        ("AccessDenied", 403, AccessDenied),
        ("403", 403, AccessDenied),
        ("SomethingNew", 403, AccessDenied),
        ("InvalidAccessKeyId", 403, AccessDenied),
        ("SignatureDoesNotMatch", 403, AccessDenied),
        ("InvalidClientTokenId", 403, AccessDenied),
        ("InvalidToken", 400, AccessDenied),
        ("SlowDown", 503, Throttled),
        ("503", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("RequestLimitExceeded", 400, Throttled),
        ("TooManyRequestsException", 429, Throttled),
        ("ServiceUnavailable", 503, Throttled),
        ("RequestTimeout", 400, TimedOut),
        ("PreconditionFailed", 412, PreconditionFailed),
        ("412", 412, PreconditionFailed),
        ("ConditionalRequestConflict", 409, ConditionalConflict),
        ("OperationAborted", 409, ConditionalConflict),
        ("PermanentRedirect", 301, InvalidArgument),
        ("AuthorizationHeaderMalformed", 400, InvalidArgument),
        ("InvalidBucketName", 400, InvalidArgument),
        ("KeyTooLongError", 400, InvalidArgument),
        ("InvalidObjectState", 403, InvalidArgument),
        ("BadDigest", 400, ConnectionFailed),
        ("InternalError", 500, ConnectionFailed),
        ("500", 500, ConnectionFailed),
        ("", 0, ConnectionFailed),
        ("SomethingNew", 400, PermanentError),
        ("400", 400, PermanentError),
    ],
)
def test_an_answer_is_one_of_our_errors(code: str, status: int, kind: type[TradewindError]) -> None:
    found = classify(answer(code, status), "read s3://b/k")

    assert type(found) is kind
    assert str(found).startswith("read s3://b/k: ")
    assert f"({code or status})" in str(found)
    assert isinstance(pickle.loads(pickle.dumps(found)), kind)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "400"])
def test_credentials_that_expired_come_back_only_where_somebody_renews_them(code: str) -> None:
    renewed = classify(answer(code), "head s3://b/k", refreshable=True, temporary=True)
    given = classify(answer(code), "head s3://b/k", temporary=True)

    assert type(renewed) is CredentialsExpired
    assert isinstance(renewed, TransientError)
    assert type(given) is AccessDenied
    if code == "400":
        assert "credentials that expired are the usual one" in str(given)


def test_a_driver_s_own_faults_are_ours() -> None:
    import botocore.exceptions as b
    import urllib3.exceptions as u

    table: list[tuple[Any, type[TradewindError]]] = [
        (b.NoCredentialsError(), AccessDenied),
        (b.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), AccessDenied),
        (b.ConnectTimeoutError(endpoint_url="http://x"), TimedOut),
        (b.ReadTimeoutError(endpoint_url="http://x"), TimedOut),
        (b.EndpointConnectionError(endpoint_url="http://x"), ConnectionFailed),
        (b.ConnectionClosedError(endpoint_url="http://x"), ConnectionFailed),
        (b.SSLError(endpoint_url="https://x", error=OSError("bad")), ConnectionFailed),
        (b.IncompleteReadError(actual_bytes=1, expected_bytes=2), ConnectionFailed),
        (b.ResponseStreamingError(error="reset"), ConnectionFailed),
        (b.CredentialRetrievalError(provider="iam-role", error_msg="no answer"), ConnectionFailed),
        (b.NoRegionError(), InvalidArgument),
        (b.ProfileNotFound(profile="p"), InvalidArgument),
        (b.ParamValidationError(report="no"), InvalidArgument),
        (u.ProtocolError("broken"), ConnectionFailed),
        (ConnectionResetError("reset"), ConnectionFailed),
        (TimeoutError("late"), TimedOut),
    ]
    assert {repr(error): type(classify(error, "x")) for error, _ in table} == {
        repr(error): kind for error, kind in table
    }
    assert classify(KeyError("k"), "x") is None


def test_the_block_chains_what_it_turns_and_leaves_the_rest() -> None:
    cause: BaseException = answer("NoSuchKey", 404)
    with pytest.raises(NotFound, match="no such key") as caught, aws_errors("read s3://b/k"):
        raise cause
    assert caught.value.__cause__ is cause
    assert error_code(answer("NoSuchKey", 404)) == "NoSuchKey"

    ours = InvalidArgument("as it is")
    with pytest.raises(InvalidArgument) as same, aws_errors("read"):
        raise ours
    assert same.value is ours
    with pytest.raises(KeyError), aws_errors("read"):
        raise KeyError("k")


def test_messages_are_short_and_begin_small() -> None:
    found = classify(answer("InvalidArgument", message="Argument is bad. " * 100), "put s3://b/k")

    assert str(found).startswith("put s3://b/k: argument is bad")
    assert len(str(found)) < 600
