"""What an environment keeps on the machine: its secrets, and the folders of what its services keep."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tradewind.local.stack import images
from tradewind.local.stack.services import OPTIONAL, Services
from tradewind.local.state import Secrets, drawn, write_private


def lay_out(folder: Path, services: Services, secrets: Secrets, options: Mapping[str, str]) -> dict[str, str]:
    """Write the secrets, for the containers' user alone, and make the folders; return the services' passwords.

    :param folder: where they lie
    :param services: what the environment has
    :param secrets: Airflow's
    :param options: the variables made of the configuration options that the user gave
    """
    owner = images.user_id()
    folder.mkdir(exist_ok=True, mode=0o711)
    place = folder / "secrets"
    place.mkdir(exist_ok=True, mode=0o711)
    passwords = drawn(folder / "passwords.json", services.passwords)
    bundle = os.environ.get("SSL_CERT_FILE", "")
    content = {
        **dict.fromkeys(OPTIONAL, ""),  # Compose wants a file for each
        **asdict(secrets),
        **passwords,
        "options": json.dumps(options),
        "ca": Path(bundle).read_text() if bundle and Path(bundle).is_file() else "",
    }
    for name, value in content.items():
        write_private(place / name, value)
        _give(place / name, owner)
    for name in services.folders:
        (folder / name).mkdir(exist_ok=True, mode=0o700)
        _give(folder / name, owner)
    return passwords


def _give(path: Path, owner: int) -> None:
    if os.getuid() == 0:
        os.chown(path, owner, 0)
