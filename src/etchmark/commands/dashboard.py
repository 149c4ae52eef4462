"""`dashboard`: the Streamlit app."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from etchmark.api import LocalHub
from etchmark.commands.app import app
from etchmark.errors import UserError


@app.command()
def dashboard(
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "localhost",
) -> None:
    """The Streamlit app."""
    import importlib.util

    if importlib.util.find_spec("streamlit") is None:
        raise UserError(
            "the dashboard needs Streamlit; install it with `pip install 'etchmark[dashboard]'`"
        )
    hub = LocalHub()
    script, environment = hub.dashboard_script(), hub.environment_elsewhere()
    # Streamlit reads its own configuration relative to the working directory.
    command = [sys.executable, str(script)]
    command += ["--server.port", str(port), "--server.address", host, "--server.headless", "true"]
    command += ["--browser.gatherUsageStats", "false"]
    os.chdir(script.parent)
    os.execve(sys.executable, command, environment)  # noqa: S606
