"""Where an encoder's weights come from, and what identifies them (no torch, no timm).

In this order: a file that the caller names, a file in ``ETCHMARK_WEIGHTS``, the Hugging Face cache,
the Hugging Face Hub. Random weights are used only where a card says so, never as a substitute.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from etchmark import files, settings
from etchmark.data import transfer
from etchmark.errors import CannotRun, UserError

HUB_FILE = "model.safetensors"
PRETRAINED, RANDOM = "pretrained", "random"
QUANTISED = {"I8", "U8", "F8_E4M3", "F8_E5M2"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Weights:
    """Identity and place of an encoder's weights.

    Attributes:
        id: ``sha256:...`` of the file, or seed and versions of random weights.
        path: the file, None for random weights.
        source: where they come from, in words without a path of this machine.
    """

    id: str
    path: Path | None
    source: str


def random_weights(seed: int) -> Weights:
    """Weights as timm draws them; they depend on its version and that of torch."""
    versions = [f"{name} {metadata.version(name)}" for name in ("timm", "torch")]
    return Weights(f"random:{seed}, {', '.join(versions)}", None, f"random weights, seed {seed}")


def from_file(path: Path) -> Weights:
    """The weights of a safetensors file.

    Raises:
        CannotRun: it does not exist or is not a safetensors file.
    """
    if path.is_dir():
        raise CannotRun(f"{path}: is a folder; name the .safetensors file in it")
    if path.suffix.lower() != ".safetensors":
        raise CannotRun(
            f"{path}: weights are read from .safetensors files only (a pickle could run code);"
            " convert it with safetensors.torch.save_file"
        )
    _check_header(path)
    digest = files.sha256_of(path)
    return Weights(f"sha256:{digest}", path.resolve(), f"{path.name}, SHA-256 {digest}")


def _check_header(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb"), safe_open(path, framework="np") as content:
            kinds = {content.get_slice(name).get_dtype() for name in content.keys()}  # noqa: SIM118 (no mapping)
    except OSError as error:
        raise CannotRun(
            f"{path}: cannot be read ({error.strerror or error}); give a safetensors file"
        ) from None
    except SafetensorError as error:
        raise CannotRun(
            f"{path}: is not a whole safetensors file ({error}); download it again"
        ) from None
    if few := sorted(kinds & QUANTISED):
        raise CannotRun(
            f"{path}: holds quantised values ({', '.join(few)}), which are not an encoder's"
            " weights; give a file of floating-point numbers"
        )


def locate(name: str, *, path: Path | None, local: str | None, size: Callable[[], str]) -> Weights:
    """Pretrained weights of a timm model.

    Args:
        name: timm's name with its tag; on the Hub ``timm/<name>``.
        path: a file named by the caller.
        local: file name looked up in ``ETCHMARK_WEIGHTS`` before the Hub; the only place for a
            model without a tag, which the Hub does not have.
        size: returns their size in words, for the message if they are not available.

    Raises:
        CannotRun: they are not available, or the file is not a safetensors file.
    """
    if path is not None:
        return from_file(path)
    folder = settings.weights()
    for file in (local, f"{name}.safetensors"):
        if folder is not None and file and (folder / file).is_file():
            return from_file(folder / file)
    if local is not None and "." not in name:
        if settings.kept_from_weights():
            raise CannotRun(
                f"pretrained weights of {name} ({size()}) lie in a folder that this model's process"
                " is not told of; say `takes_weights: true` in its card.yaml"
            )
        where = "lacks" if folder else "would hold if it were set"
        raise CannotRun(
            f"pretrained weights of {name} ({size()}) are read from a file, {local}, which the"
            f" folder ETCHMARK_WEIGHTS {where}; put it there, or name a file with --weights"
        )
    cached = _from_hub(name, size)
    # The Hub's cache names a file by its SHA-256.
    blob = cached.resolve().name
    digest = blob if _SHA256.fullmatch(blob) else files.sha256_of(cached)
    source = f"timm/{name} on the Hugging Face Hub, SHA-256 {digest}"
    return Weights(f"sha256:{digest}", cached, source)


def _from_hub(name: str, size: Callable[[], str]) -> Path:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = f"timm/{name}"
    cached = try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    remedy = (
        "connect once to download them, put them as"
        f" {name}.safetensors into the folder ETCHMARK_WEIGHTS, or name a file with --weights"
        " (a model sees no proxy and no token, unless ETCHMARK_PASS_ENV names the variable)"
    )
    what = f"pretrained weights of {name}"
    if settings.offline():
        raise CannotRun(
            f"{what} ({size()}) are not on this machine and the network is off (ETCHMARK_OFFLINE or"
            f" HF_HUB_OFFLINE); {remedy}"
        )
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        _resolve(host)
        return _downloaded(repository)
    except (
        *(LocalEntryNotFoundError, HfHubHTTPError, OSError, RuntimeError),
        *(transfer.Unavailable, UserError),
    ) as error:
        why = "no such host" if isinstance(error, socket.gaierror) else type(error).__name__
        if isinstance(error, (transfer.Unavailable, UserError)):
            why = str(error)
        raise CannotRun(
            f"{what} ({size()}) cannot be downloaded from {host} ({why}); {remedy}"
        ) from None


def _downloaded(repository: str) -> Path:
    """The weights of a repository, in the cache of the Hub's client as that would put them there.

    They come by the one downloader: it goes on after a cut, and hashes what comes, where the client
    checks the length alone.
    """
    from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name

    about = get_hf_file_metadata(hf_hub_url(repository, HUB_FILE))
    digest, commit, size = about.etag or "", about.commit_hash, about.size
    if not _SHA256.fullmatch(digest) or commit is None or size is None:
        raise OSError("it names no SHA-256, commit or size")
    root = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    blob, pointer = root / "blobs" / digest, root / "snapshots" / commit / HUB_FILE
    token = get_token()
    options = transfer.Options(
        "HF_ENDPOINT",
        "check HF_ENDPOINT",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    url = hf_hub_url(repository, HUB_FILE, revision=commit)
    with transfer.turn(root / ".etchmark.lock"):
        blob.parent.mkdir(parents=True, exist_ok=True)
        transfer.fetch([transfer.Wanted(url, blob, digest, size)], options)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if not pointer.exists():
            try:
                pointer.symlink_to(Path("..", "..", "blobs", digest))
            except OSError:
                # Where links need a permission.
                shutil.copyfile(blob, pointer)
        files.write_bytes(root / "refs" / "main", commit.encode())
    return pointer


def _resolve(host: str) -> None:
    """Raise at once if there is no network at all; the Hub's own client retries for long."""
    if any(
        os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    ):
        return
    name = urlsplit(host).hostname
    if name:
        socket.getaddrinfo(name, None)
