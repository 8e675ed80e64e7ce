"""Where the console of AWS shows what is in S3."""

from __future__ import annotations

from urllib.parse import quote

from tradewind.amazon.s3.locations import parse_s3_url

# https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
_CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
_CONSOLE = "console.aws.amazon.com"


def console_url(url: str, region: str | None = None) -> str:
    """Return the page of an object, or of a folder.

    :param url: ``s3://bucket/key``; a key that ends in a slash is a folder
    :param region: the bucket's region, None where it is not known
    """
    bucket, key = parse_s3_url(url)
    host = next((console for prefix, console in _CONSOLES.items() if (region or "").startswith(prefix)), _CONSOLE)
    kind = "buckets" if key.endswith("/") or not key else "object"
    where = f"region={quote(region)}&" if region else ""
    return f"https://{host}/s3/{kind}/{quote(bucket)}?{where}prefix={quote(key, safe='')}"
