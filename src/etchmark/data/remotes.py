"""Where the files of a built config are served: a folder, a web server, the Hugging Face Hub.

``ETCHMARK_REMOTE`` is ``https://HOST/PATH`` or ``file:///PATH``, below which a config stands as
``<dataset>/<config>/<file>``, or ``hf://ORGANISATION``, whose dataset repositories are named after
our datasets and hold ``<config>/<file>``.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from urllib.parse import quote

from etchmark import settings
from etchmark.data import transfer
from etchmark.errors import UserError

SETTING = "ETCHMARK_REMOTE"
SCHEMES = ("https://", "http://", "file://", "hf://")
HUB = "hf://"
MAX_INFO_BYTES = 4 << 20
_ORGANISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NotServed(Exception):
    """A remote does not have a config."""


@dataclass(frozen=True)
class Place:
    """Where one config is served.

    Attributes:
        dataset: its dataset.
        config: its name.
        base: address of its folder.
        origin: the remote in words.
        options: how to download from there.
    """

    dataset: str
    config: str
    base: str
    origin: str
    options: transfer.Options

    def url(self, path: str) -> str:
        """The address of a file of the config."""
        return f"{self.base}/{quote(path)}"


def place(remote: str, dataset: str, config: str) -> Place:
    """Where a remote serves a config; the Hugging Face Hub is asked for the newest commit.

    Args:
        remote: the setting, without a slash at its end.
        dataset: name of a dataset.
        config: one of its configs.

    Raises:
        NotServed: the Hub has no such repository, or none that everybody may read.
        transfer.Unavailable: the Hub failed, repeatedly.
        UserError: the setting is malformed, or the network is off.
    """
    if not remote.startswith(SCHEMES):
        raise UserError(f"{SETTING}: {remote!r} does not begin with {', '.join(SCHEMES)}")
    if settings.offline() and not remote.startswith("file://"):
        raise UserError(
            f"{remote}: not downloaded, since ETCHMARK_OFFLINE is set; unset it to use the network"
        )
    if not remote.startswith(HUB):
        options = transfer.Options(SETTING, f"check {SETTING}")
        return Place(dataset, config, f"{remote}/{quote(dataset)}/{quote(config)}", remote, options)
    return _on_the_hub(remote.removeprefix(HUB), dataset, config)


def _on_the_hub(organisation: str, dataset: str, config: str) -> Place:
    from huggingface_hub import get_token

    if not _ORGANISATION.fullmatch(organisation):
        raise UserError(f"{SETTING}: {organisation!r} is not the name of an organisation or user")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    repository, token = f"{organisation}/{dataset}", get_token()
    options = transfer.Options(
        SETTING,
        f"check {SETTING}, or log in with `hf auth login` if the repository is private",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        # To whom is not logged in, the Hub does not say whether a repository exists.
        absent=frozenset({401, 404, 410}),
    )
    url = f"{endpoint}/api/datasets/{repository}/revision/main"
    try:
        commit = json.loads(read(url, MAX_INFO_BYTES, options))["sha"]
    except (ValueError, KeyError, TypeError):
        commit = ""
    if not _COMMIT.fullmatch(str(commit)):
        raise UserError(f"{url}: names no commit; check HF_ENDPOINT")
    base = f"{endpoint}/datasets/{repository}/resolve/{commit}/{quote(config)}"
    return Place(dataset, config, base, f"{HUB}{repository} at commit {commit[:12]}", options)


def read(url: str, limit: int, options: transfer.Options) -> bytes:
    """The content of a small file by which a remote says what it has.

    Raises:
        NotServed: there is no such file.
        transfer.Unavailable: the server failed, repeatedly.
        UserError: it refuses the file, or that is longer.
    """
    try:
        return transfer.read(url, limit, options)
    except transfer.Absent as error:
        raise NotServed(str(error)) from None
