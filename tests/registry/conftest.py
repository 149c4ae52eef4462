"""Databases that the same tests of the registry run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = (
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
)
OWNER = "postgres"


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PROGRAMS]))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server of this session alone; skips where there is none."""
    pytest.importorskip("psycopg", reason="psycopg (extra `postgresql`) is not installed")
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("PostgreSQL is not installed")
    # The server refuses to run as root.
    owner = {"user": OWNER, "group": OWNER} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="etchmark-pg-"))
    if owner:
        shutil.chown(folder, OWNER, OWNER)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120, **owner
        )

    try:
        run(initdb, "-D", f"{folder}/data", "-U", "etchmark", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-c listen_addresses='' -k {folder} -c fsync=off"
        log = ("-l", f"{folder}/log")
        run(control, "start", "-w", "-D", f"{folder}/data", *log, "-o", options)
        yield f"postgresql://etchmark@/postgres?host={folder}"
        run(control, "stop", "-D", f"{folder}/data", "-m", "immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    """The setting of an empty registry, by turns in SQLite and in PostgreSQL; None for SQLite."""
    if request.param == "sqlite":
        return None
    url = request.getfixturevalue("new_database")()
    monkeypatch.setenv("ETCHMARK_REGISTRY", url)
    return url


@pytest.fixture
def new_database(postgresql_server: str) -> Callable[[], str]:
    """Makes an empty schema of its own on the server; its URL."""
    import psycopg

    def make() -> str:
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            row = connection.execute("select count(*) from pg_namespace").fetchone()
            assert row is not None
            connection.execute(f"create schema test_{row[0]}")
        return f"{postgresql_server}&options=-csearch_path%3Dtest_{row[0]}"

    return make


@pytest.fixture
def submitted(toy_predictions: Callable[..., Path], command: Callable, tmp_path: Path) -> Path:
    """One submission named ``mine``, exported."""
    export = tmp_path / "export"
    options = ("--track", "features", "--protocol", "holdout", "--name", "mine")
    command("submit", toy_predictions(), "toy-line", *options, "--export", export).fine()
    return export
