"""What the first visitor of a server would wait for, read while nobody has come yet."""

from __future__ import annotations

import logging
import pkgutil
import time
from contextlib import suppress
from importlib import import_module

from streamlit import runtime

from dashboard import cached, panels
from dashboard.panels import decision_table
from etchmark.api import open_hub
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec

log = logging.getLogger("etchmark.dashboard")


def read() -> None:
    """Read what the overview shows into the caches of the pages, of all boards the leaders first.

    A page that is asked for meanwhile shares this work. What cannot be read is reported there.
    """
    # Its caches are those of the pages only once it is there.
    while not runtime.exists():
        time.sleep(0.01)
    try:
        hub = open_hub()
        specs: list[BenchmarkSpec] = []
        for name in hub.benchmarks():
            with suppress(UserError):
                specs.append(hub.benchmark(name))
                decision_table.row(hub, specs[-1], None)
        for module in pkgutil.iter_modules(panels.__path__):
            import_module(f"{panels.__name__}.{module.name}")
        for spec in specs:
            with suppress(UserError):
                cached.standings(hub, spec, decision_table.headline(spec))
    except Exception:
        # The page that needs it says what is wrong.
        log.debug("nothing could be read ahead", exc_info=True)
