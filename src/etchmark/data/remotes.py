"""Where the files of a built config are served: a folder, a web server, the Hugging Face Hub.

``ETCHMARK_REMOTE`` is ``https://HOST/PATH`` or ``file:///PATH``, below which a config stands as
``<dataset>/<config>/<file>``, or ``hf://ORGANISATION``, whose dataset repositories are named after
our datasets and hold ``<config>/<file>``.
"""

from __future__ import annotations

import base64
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

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
    if remote.startswith(HUB):
        return _on_the_hub(remote.removeprefix(HUB), dataset, config)
    base, headers = _address(remote)
    options = transfer.Options(SETTING, f"check {SETTING}", headers=headers)
    return Place(dataset, config, f"{base}/{quote(dataset)}/{quote(config)}", base, options)


def _address(remote: str) -> tuple[str, dict[str, str]]:
    """An address without user and password, which messages would show, and the header with them."""
    try:
        parts = urlsplit(remote)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError as error:
        raise UserError(f"{SETTING}: {remote!r} is no address ({error})") from None
    if parts.query or parts.fragment or "?" in remote or "#" in remote:
        raise UserError(f"{SETTING}: an address of a folder has no ? and no #; write %3F and %23")
    if parts.scheme == "file":
        if host not in ("", "localhost"):
            raise UserError(f"{SETTING}: {remote!r} names a host; write file:///PATH")
        folder = Path(url2pathname(parts.path))
        if "\0" in str(folder) or not folder.is_dir():
            raise UserError(f"{SETTING}: {remote!r} is not a folder")
        return remote, {}
    if parts.username is None:
        return remote, {}
    name, password = unquote(parts.username), unquote(parts.password or "")
    secret = base64.b64encode(f"{name}:{password}".encode()).decode()
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}", {"Authorization": f"Basic {secret}"}


def _on_the_hub(organisation: str, dataset: str, config: str) -> Place:
    from huggingface_hub import get_token

    if not _ORGANISATION.fullmatch(organisation):
        raise UserError(f"{SETTING}: {organisation!r} is not the name of an organisation or user")
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    repository, token = f"{organisation}/{dataset}", get_token()
    options = transfer.Options(
        SETTING,
        f"check {SETTING}, or log in with `hf auth login` if the repository is private",
        headers={"Authorization": f"Bearer {token}"} if token else {},
        # To whom is not logged in, the Hub does not say whether a repository exists.
        absent=frozenset({404, 410} if token else {401, 404, 410}),
    )
    url = f"{endpoint}/api/datasets/{repository}/revision/main"
    try:
        content = transfer.read(url, MAX_INFO_BYTES, options)
    except transfer.Absent:
        private = "" if token else " (or is private, and nobody is logged in)"
        raise NotServed(f"is not at {HUB}{repository}{private}") from None
    try:
        commit = json.loads(content)["sha"]
    except (ValueError, KeyError, TypeError, RecursionError):
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
    except transfer.Absent:
        raise NotServed(f"is not at {url.rpartition('/')[0]}") from None
