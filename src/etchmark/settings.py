"""Settings, read from the environment at the time of use.

========================  =====================================================================
``ETCHMARK_HOME``         hub folder: built data, downloads, registry (default: the user's cache)
``ETCHMARK_REGISTRY``     URL of a PostgreSQL database for the registry (default: in the hub folder)
``ETCHMARK_CONTENT``      folders with ``datasets/``, ``benchmarks/`` or ``baselines/`` of your own,
                          laid over what is installed (``:`` between them, ``;`` on Windows)
``ETCHMARK_CONTENT_ONLY`` ``1``: those folders alone, nothing that is installed
``ETCHMARK_MIRROR``       folder of upstream files, ``<host>/<owner>/<repo>/<commit>/<path>``
``ETCHMARK_REMOTE``       where built datasets are served: ``https://``, ``file://`` or ``hf://ORGANISATION``
``ETCHMARK_SOURCES_URL``  base URL that serves raw upstream files (default: GitHub's raw host)
``ETCHMARK_WEIGHTS``      folder of weights ``<model>.safetensors``, tried before the Hub
``ETCHMARK_FEATURES``     folder of stored image features (default: ``features`` in the hub folder)
``ETCHMARK_READ_ONLY``    ``1``: the registry is read and never written
``ETCHMARK_OFFLINE``      ``1``: never touch the network (``HF_HUB_OFFLINE=1`` counts too)
``ETCHMARK_PASS_ENV``     further variables that models see, separated by commas
``ETCHMARK_WORK``         folder for a model's checkpoints; ``evaluate`` sets it for each model
``TMPDIR``                folder for temporary files, such as the data that a model runs on
========================  =====================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from etchmark.errors import UserError

IN_MODEL = "ETCHMARK_IN_MODEL"
"""Set in the process that runs a model, which may read neither data nor labels nor results."""
SUPERVISED = "ETCHMARK_SUPERVISED"
"""Set in every process that runs within limits: the token by which it is found and ended."""
WORK = "ETCHMARK_WORK"
"""Set in the process that runs a model: its working directory."""
FOLDERS = (
    "ETCHMARK_HOME", "ETCHMARK_MIRROR", "ETCHMARK_WEIGHTS", "ETCHMARK_FEATURES", "TMPDIR",
)  # fmt: skip
"""Settings that name one folder, which may be relative to the working directory."""
RAW_URL = "https://raw.githubusercontent.com"


def _text(name: str) -> str | None:
    value = os.environ.get(name, "").strip()
    return value or None


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"{name}: {value!r} names an unknown user; correct the setting") from None


def _folder(name: str) -> Path | None:
    value = _text(name)
    return None if value is None else _existing(name, value)


def _existing(name: str, value: str) -> Path:
    path = _path(name, value)
    if not path.is_dir():
        raise UserError(
            f"{name}: {path} is not a folder; create it, correct the setting or unset it"
        )
    return path


def in_model() -> bool:
    """Whether this is the process of a model, or one that it started."""
    return _text(IN_MODEL) is not None


def kept_from_weights() -> bool:
    """Whether this is the process of a model whose card does not say that it takes weights."""
    return in_model() and _text("ETCHMARK_FEATURES") is None


def refuse_in_model() -> None:
    """Raise if the caller is a model that is being evaluated."""
    if in_model():
        raise UserError(
            "a model that is being evaluated has no access to the hub; use only what fit and"
            " predict are given"
        )


def home() -> Path:
    """The hub folder; it is created when something is first written to it."""
    refuse_in_model()
    value = _text("ETCHMARK_HOME")
    if value is not None:
        return _path("ETCHMARK_HOME", value)
    import platformdirs

    return Path(platformdirs.user_cache_dir("etchmark"))


def registry() -> str | None:
    """URL of the registry's database; None if it is a file in the hub folder."""
    refuse_in_model()
    return _text("ETCHMARK_REGISTRY")


def content() -> tuple[Path, ...]:
    """Content folders that lie over what is installed, the uppermost first."""
    parts = (part.strip() for part in (_text("ETCHMARK_CONTENT") or "").split(os.pathsep))
    return tuple(_existing("ETCHMARK_CONTENT", part) for part in parts if part)


def content_only() -> bool:
    """Whether installed content is left out."""
    return _is_on("ETCHMARK_CONTENT_ONLY")


def mirror() -> Path | None:
    return _folder("ETCHMARK_MIRROR")


def weights() -> Path | None:
    return _folder("ETCHMARK_WEIGHTS")


def features() -> Path:
    """The folder of the feature store; it is created on first use."""
    value = _text("ETCHMARK_FEATURES")
    return home() / "features" if value is None else _path("ETCHMARK_FEATURES", value)


def remote() -> str | None:
    value = _text("ETCHMARK_REMOTE")
    return value.rstrip("/") if value else None


def sources_url() -> str:
    return (_text("ETCHMARK_SOURCES_URL") or RAW_URL).rstrip("/")


def pass_env() -> frozenset[str]:
    """Names of further environment variables that a model's process sees."""
    names = [name.strip() for name in (_text("ETCHMARK_PASS_ENV") or "").split(",")]
    for name in names:
        if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_()]*", name):
            raise UserError(
                f"ETCHMARK_PASS_ENV: {name!r} is not the name of a variable; separate names by"
                " commas, as in HF_TOKEN,HTTPS_PROXY"
            )
    return frozenset(name for name in names if name)


def work() -> Path | None:
    """The folder where a model may keep checkpoints while it is fitted; None if it has none."""
    value = _text(WORK)
    return None if value is None else _path(WORK, value)


def elsewhere() -> dict[str, str]:
    """Variables that name folders, as a process in another working directory needs them.

    Raises:
        UserError: a folder is that of an unknown user.
    """
    values = {name: value for name in FOLDERS if (value := _text(name)) is not None}
    absolute = {name: str(_path(name, value)) for name, value in values.items()}
    if (value := _text("ETCHMARK_CONTENT")) is not None:
        parts = [part.strip() for part in value.split(os.pathsep)]
        folders = [str(_path("ETCHMARK_CONTENT", part)) for part in parts if part]
        absolute["ETCHMARK_CONTENT"] = os.pathsep.join(folders)
    return absolute


def _is_on(name: str) -> bool:
    return (_text(name) or "0").lower() not in {"0", "false", "no", "off"}


def offline() -> bool:
    return _is_on("ETCHMARK_OFFLINE") or _is_on("HF_HUB_OFFLINE")


def read_only() -> bool:
    """Whether the registry is not to be written: a hub that takes no submissions."""
    return _is_on("ETCHMARK_READ_ONLY")
