"""The pages without a browser, and submissions to look at on them."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from etchmark.data.loading import load_benchmark
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard
from etchmark.submission import submit as submissions

FOLDER = Path(__file__).resolve().parents[2] / "leaderboard"


BENCHMARK = "toy-line"


HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markdown": "**bold** [click](javascript:alert(1)) :red[x] ![i](http://evil.example/i.png)",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "direction": "\u202eneves\u202c שלום",
    "address": "https://evil.example/?q=1 and www.evil.example",
    "stacked": "Z" + "\u0351\u0368\u0353" * 20 + "algo 😀",
    "long": "x" * 100,
}


def truth(protocol: str = "holdout"):
    """Labels of ``toy-line``."""
    split = "test" if protocol == "holdout" else "train"
    return load_benchmark(BENCHMARK).truth(split, protocol)


def predictions(offset: float = 1.0, protocol: str = "holdout") -> pd.DataFrame:
    """Predictions of ``toy-line`` that are too high by ``offset`` to twice as much."""
    labels = truth(protocol)
    excess = np.linspace(offset, 2 * offset, len(labels.ids))
    return pd.DataFrame({"id": labels.ids, "prediction": labels.target + excess})


def submit(
    folder: Path,
    name: str,
    offset: float = 1.0,
    *,
    protocol: str = "holdout",
    track: str = "features",
    card: ModelCard | None = None,
) -> Entry:
    """Store ``predictions(offset, protocol)`` under a name."""
    path = folder / "predictions.csv"
    predictions(offset, protocol).to_csv(path, index=False)
    prepared = submissions.prepare_file(
        load_benchmark(BENCHMARK),
        path,
        name=name,
        card=card or ModelCard(),
        track=track,
        protocol=protocol,
    )
    submissions.commit(Store(), prepared)
    return Entry(prepared.record, prepared.samples, LOCAL)


def submit_volumes(folder: Path, predicted: np.ndarray) -> str:
    """Predictions of the volumes' test split, stored; the submission's short id."""
    path, benchmark = folder / "p.csv", load_benchmark("toy-volumes")
    ids = benchmark.truth("test").ids
    pd.DataFrame({"id": ids, "prediction": predicted}).to_csv(path, index=False)
    prepared = submissions.prepare_file(
        benchmark, path, name="mine", card=ModelCard(), track="volumes", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    return prepared.record.submission[:12]


def start(**query: str) -> AppTest:
    return page("leaderboard", **query)


def model_page(submission: str, **query: str) -> AppTest:
    """The page of a model at one of its submissions, which is found by the start of its id."""
    (found,) = Store().find(submission)
    return page("model", name=found.name, submission=submission[:12], **query)


def page(name: str, /, **query: str) -> AppTest:
    app = AppTest.from_file(str(FOLDER / "app.py"), default_timeout=60)
    if name == "how_to_read":
        # A page whose address is not the name of its file is known after a first run only.
        app.run()
    app.query_params.update(query)
    return app.switch_page(f"app_pages/{name}.py").run()


def fine(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error, values(app.error)
    return app


def table(app: AppTest) -> pd.DataFrame:
    """The first table of a page; of a leaderboard its standings."""
    return app.dataframe[0].value


def table_with(app: AppTest, column: str) -> pd.DataFrame:
    """The first table of a page that has a column."""
    return next(element.value for element in app.dataframe if column in element.value.columns)


def values(elements: Any) -> list[Any]:
    """What elements of a page show, without the addresses of the terms that are linked."""
    return [without_terms(element.value) for element in elements]


def without_terms(text: Any) -> Any:
    """Markdown whose links to *How to read this* are the words alone."""
    if not isinstance(text, str):
        return text
    return re.sub(r"\[([^\]]*)\]\(how-to-read\?[^)]*\)", r"\1", text)


def captions(app: AppTest) -> list[str]:
    """As they are read, without the backslashes that keep Markdown from seeing more in them."""
    return [re.sub(r"\\(.)", r"\1", text) for text in values(app.caption)]


def query(app: AppTest) -> dict[str, str]:
    return {
        key: value[0] if isinstance(value, list) else value
        for key, value in dict(app.query_params).items()
    }


def literal(text: str) -> str:
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def html(app: AppTest) -> str:
    """What the tables that are read rather than sorted hold, as HTML without their style."""
    bodies = [element.proto.body for element in app.get("html")]
    return "\n".join(body.rpartition("</style>")[2] for body in bodies)


def links(app: AppTest) -> dict[str, list[str]]:
    """Addresses of the links in those tables by their text."""
    found: dict[str, list[str]] = {}
    for address, text in re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', html(app)):
        found.setdefault(unescape(text), []).append(unescape(address))
    return found


def press(app: AppTest, label: str) -> None:
    next(element for element in app.button if element.label == label).click().run()


def figures(app: AppTest) -> list[dict[str, Any]]:
    """The figures of a page."""
    return [json.loads(element.proto.spec) for element in app.get("plotly_chart")]


def figure_text(app: AppTest) -> str:
    """All figures of a page as text."""
    return " ".join(map(json.dumps, figures(app)))


def numbers_of(data: list[float] | dict[str, str]) -> list[float]:
    """Numbers of a figure, which plotly may have packed."""
    if isinstance(data, dict):
        return np.frombuffer(base64.b64decode(data["bdata"]), data["dtype"]).tolist()
    return data
