"""What a result was computed with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from etchmark._version import __version__
from etchmark.specs import Environment

PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "datasets", "torch", "timm")


def git_commit() -> str | None:
    """Commit of the checkout this package runs from, None for an installed wheel."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # Results that are written while a board is recomputed do not change the code that runs.
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", ":!leaderboard/results"
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def current() -> Environment:
    """Versions, platform and commit of this process."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Environment(
        etchmark=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=found,
        git_commit=git_commit(),
    )


def _of_processor(name: str) -> str | None:
    """What Linux says of the first core, None where nobody says."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join(match.group(1).split()) if match else None


def _processor() -> str:
    return _of_processor("model name") or platform.processor() or platform.machine()


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor itself multiplies bfloat16 (AMX, AVX-512 BF16); torch is not needed."""
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint((_of_processor("flags") or "").split())


def hardware(device: str) -> str:
    """The processor and cores, or the accelerator, that a run used."""
    if device.startswith("cuda"):
        try:
            listing = subprocess.run(
                ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            return listing.splitlines()[0].strip()
        except (OSError, subprocess.CalledProcessError, IndexError):
            return device
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} core{'' if cores == 1 else 's'}"
