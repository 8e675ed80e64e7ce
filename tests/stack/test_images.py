"""Images that are no longer used do not stay for ever."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

from tests.stack.fix_stack import docker, require_docker
from tradewind.local.stack import compose

PREFIX = "tradewind-test/old"


def load(name: str, created: str, labels: dict[str, str]) -> None:
    """Give Docker an image of nothing, made at that time."""
    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode="w").close()
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    facts = {"Labels": {**labels, "name": name}}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": facts,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    parts = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [f"{PREFIX}:{name}"], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in parts.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    subprocess.run(["docker", "load"], input=archive.getvalue(), capture_output=True, timeout=60, check=True)


def test_our_old_images_that_nobody_uses_are_removed() -> None:
    require_docker()
    long_ago, lately = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    ours = {"tradewind.images": ""}
    for name, created, labels in (
        ("unused", long_ago, ours),
        ("used", long_ago, ours),
        ("new", lately, ours),
        ("others", long_ago, {}),
    ):
        load(name, created, labels)
    container = docker("create", f"{PREFIX}:used", "/none").strip()
    try:
        compose.forget_old_images()

        left = docker("images", "--format", "{{.Tag}}", PREFIX).split()
        assert sorted(left) == ["new", "others", "used"]
    finally:
        docker("rm", container)
        docker("rmi", *(f"{PREFIX}:{tag}" for tag in docker("images", "--format", "{{.Tag}}", PREFIX).split()))
