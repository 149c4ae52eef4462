"""The server of the dashboard: what ``etchmark dashboard`` runs, with options of Streamlit."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from streamlit.web import cli

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


def read_ahead() -> None:
    from dashboard import ahead

    ahead.read()


if __name__ == "__main__":
    threading.Thread(target=read_ahead, name="read-ahead", daemon=True).start()
    sys.argv = ["streamlit", "run", str(HERE / "app.py"), *sys.argv[1:]]
    cli.main()
