"""A multipart upload of what comes on stdin, and nothing else.

``python -m tests.bench.bare_upload URL KEY_ID SECRET BUCKET KEY``
"""

from __future__ import annotations

import sys
from typing import Any

PART = 8 << 20


def main() -> None:
    """Send part after part."""
    import boto3

    endpoint, key_id, secret, bucket, key = sys.argv[1:]
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret, region_name="us-east-1"
    )
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts: list[Any] = []
    while data := sys.stdin.buffer.read(PART):
        number = len(parts) + 1
        sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


if __name__ == "__main__":
    main()
