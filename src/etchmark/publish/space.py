"""The repository of a dashboard that runs on the Hugging Face Hub, as a Space.

A Space with Streamlit is a Docker Space: the Hub's own Streamlit SDK is deprecated since 2025
(https://huggingface.co/docs/hub/spaces-changelog).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import yaml

import etchmark
from etchmark.catalog import installed_root
from etchmark.data import packaging
from etchmark.errors import UserError
from etchmark.publish.repository import MARKS, Item, Repository

NAME = "dashboard"
TITLE = "etchmark: the boards"
LICENCE = "Apache-2.0"
PORT = 8501
CONTENT = ("baselines", "benchmarks", "datasets", "leaderboard")
SKIPPED = re.compile(r"(^|/)(__pycache__|\.[^/]+)(/|$)|^datasets/[^/]+/data/|\.pyc$")
EXTRA = "dashboard"

APP = '''"""Shows the boards of etchmark as they lie beside this file; takes no submissions."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("ETCHMARK_HOME", str(HERE / "hub"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
# What Python would write beside its files is no part of what was published.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
ETCHMARK = [sys.executable, "-m", "etchmark"]


def prepare() -> None:
    """Take the results into the registry, once."""
    if not (Path(os.environ["ETCHMARK_HOME"]) / "registry.sqlite").is_file():
        quiet = subprocess.DEVNULL
        subprocess.run([*ETCHMARK, "leaderboard", "FIRST", "--json"], stdout=quiet, check=True)


def main() -> None:
    prepare()
    if "--prepare" in sys.argv:
        return
    os.environ["ETCHMARK_READ_ONLY"] = "1"
    port = os.environ.get("PORT", "8501")
    os.execv(sys.executable, [*ETCHMARK, "dashboard", "--host", "0.0.0.0", "--port", port])


if __name__ == "__main__":
    main()
'''
DOCKERFILE = """FROM python:3.12-slim
RUN useradd --create-home --uid 1000 user && install -d -o user /home/user/app
WORKDIR /home/user/app
COPY --chown=user requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=user . .
USER user
RUN python app.py --prepare
EXPOSE 8501
CMD ["python", "app.py"]
"""


def repository() -> Repository:
    """The repository of a Space with the dashboard, and all reviewed results.

    Raises:
        UserError: the dashboard is not part of this installation.
    """
    if not (installed_root() / "leaderboard" / "app.py").is_file():
        raise UserError(f"{NAME}: the dashboard is missing here; reinstall etchmark")
    first = min(path.stem for path in (installed_root() / "benchmarks").glob("*.yaml"))
    items = [
        Item(MARKS[0], b"published by etchmark\n"),
        *_package(),
        Item("requirements.txt", _requirements().encode()),
        Item("app.py", APP.replace("FIRST", first).encode()),
        Item("Dockerfile", DOCKERFILE.encode()),
        Item(packaging.README, _card().encode()),
    ]
    return Repository(NAME, "space", TITLE, LICENCE, tuple(items), owned=("etchmark",))


def _package() -> Iterator[Item]:
    """The package with its content inside, as in a wheel."""
    package, root = Path(etchmark.__file__).parent, installed_root()
    for path, name in _files(package):
        if not name.startswith("content/"):
            yield Item(f"etchmark/{name}", path)
    for part in CONTENT:
        for path, name in _files(root / part, part):
            yield Item(f"etchmark/content/{name}", path)
    citation = root / "CITATION.cff"
    if citation.is_file():
        yield Item("etchmark/content/CITATION.cff", citation)


def _files(folder: Path, above: str = "") -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        name = "/".join(filter(None, (above, path.relative_to(folder).as_posix())))
        if path.is_file() and not SKIPPED.search(name):
            yield path, name


def _requirements() -> str:
    """What the dashboard needs, in the versions of this machine."""
    lines = []
    for requirement in metadata.requires("etchmark") or []:
        named, _, condition = requirement.partition(";")
        if condition and f'extra == "{EXTRA}"' not in condition.replace("'", '"'):
            continue
        name = re.split(r"[<>=!~\[ ]", named.strip(), maxsplit=1)[0]
        try:
            lines.append(f"{name}=={metadata.version(name).partition('+')[0]}\n")
        except metadata.PackageNotFoundError:
            lines.append(f"{named.strip()}\n")
    return "".join(sorted(lines, key=str.lower))


def _card() -> str:
    head = yaml.safe_dump(
        {
            "title": "etchmark",
            "sdk": "docker",
            "app_port": PORT,
            "license": LICENCE.lower(),
            "tags": ["materials-science", "microstructure", "leaderboard"],
            "short_description": "Benchmarks for machine learning on microstructures",
        },
        sort_keys=False,
    )
    return "\n".join(
        [
            "---",
            *head.splitlines(),
            "---",
            "",
            f"# {TITLE}",
            "",
            "The dashboard with all reviewed results. It takes no submissions: `etchmark submit"
            " --export` writes the folder of a pull request.",
            "",
            "```bash",
            "pip install -r requirements.txt",
            "python app.py            # http://localhost:8501",
            "```",
            "",
        ]
    )
