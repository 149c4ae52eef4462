"""Visits to a dashboard without a browser: the websocket that a page opens, and what it costs.

A visit asks for a page as Streamlit's own scripts do and reads all that the server sends, so that
two hundred of them take less than the browser needs to start Streamlit's scripts as often.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

WAIT_S = 60


def visit(address: str) -> int:
    """Open a page in a session of its own; the bytes that the server sent."""
    parts = urlsplit(address)
    ask = BackMsg()
    ask.rerun_script.page_name = parts.path.strip("/")
    ask.rerun_script.query_string = parts.query
    stream = f"ws://{parts.netloc}/_stcore/stream"
    sent = 0
    with connect(stream, max_size=None, compression=None) as socket:
        socket.send(ask.SerializeToString())
        while True:
            message = socket.recv(WAIT_S)
            sent += len(message)
            read = ForwardMsg()
            read.ParseFromString(bytes(message))
            # A page that asks to run again ends early and sends on.
            again = ForwardMsg.FINISHED_EARLY_FOR_RERUN
            if read.WhichOneof("type") == "script_finished" and read.script_finished != again:
                return sent


def memory(address: str) -> float:
    """MiB that the server of an address keeps resident, with all of its children."""
    port = str(urlsplit(address).port)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if port in words and any(word.endswith("serve.py") for word in words):
            family = (process, *process.children(recursive=True))
            return sum(each.memory_info().rss for each in family) / 2**20
    raise LookupError(f"no dashboard listens on port {port}")
