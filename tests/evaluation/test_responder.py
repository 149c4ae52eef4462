"""A process that replies to requests: its limits, what it prints, and when it is replaced."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from etchmark.evaluation import channel
from etchmark.evaluation.options import Limits
from etchmark.evaluation.process import Ending
from etchmark.evaluation.responder import Busy, Keeping, KeptResponder, Responder, Unanswered

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
CODE = """
import os, subprocess, sys, time
print("printed before anything else", flush=True)
from etchmark.evaluation.channel import Reply, respond

held = []

def answer(request):
    exec(request.get("do", ""), globals())
    reply = {"pid": os.getpid(), "echo": request.get("echo")}
    return Reply(reply, reusable=request.get("reusable", True))

respond(answer)
"""
COMMAND = (sys.executable, "-c", CODE)
LIMITS = Limits(60.0, 1 << 30)
SLEEP = {"do": "time.sleep(300)"}
Make = Callable[..., KeptResponder]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes processes that are kept, and ends them after the test."""
    made: list[KeptResponder] = []

    def make(**options: Any) -> KeptResponder:
        options = {"environment": lambda: dict(os.environ), **options}
        made.append(KeptResponder(COMMAND, who="the test", **options))
        return made[-1]

    yield make
    for responder in made:
        responder.end()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ends(pid: int, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while _runs(pid):
        if time.monotonic() > deadline:
            psutil.Process(pid).kill()
            return False
        time.sleep(0.02)
    return True


def _slow(started: Path, seconds: float) -> dict[str, str]:
    """A request that leaves a file once it is being replied to."""
    return {"do": f"open({str(started)!r}, 'w').close(); time.sleep({seconds})"}


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- the channel -------------------------------------------------------------------------------


def test_messages_arrive_whole() -> None:
    stream = io.BytesIO()
    messages = [{"text": "ü\n\0" * 1000}, None, [1.5, "x"]]
    for message in messages:
        channel.send(stream, message)
    stream.seek(0)
    assert [channel.receive(stream) for _ in messages] == messages
    with pytest.raises(EOFError):
        channel.receive(stream)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EOFError),
        (b"\0\0\0", EOFError),
        (b"\0" * 7 + b"\x09" + b"{}", EOFError),
        (b"\xff" * 8, ValueError),
        (b"\0" * 7 + b"\x02" + b"{]", ValueError),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        channel.receive(io.BytesIO(content))


# --- one process -------------------------------------------------------------------------------


def test_what_is_printed_does_not_disturb_a_reply(capfd: pytest.CaptureFixture[str]) -> None:
    loud = """
print("{", end="")
os.write(1, b"\\0" * 64)
subprocess.run(["echo", "from a program"])
assert sys.stdin.read() == ""
"""
    with Responder(COMMAND, os.environ, who="the test") as responder:
        for number in range(3):
            reply = responder.ask({"do": loud, "echo": number}, LIMITS)
            assert reply["echo"] == number
    assert "from a program" in responder.child.output.text()
    assert capfd.readouterr() == ("", "")


def test_long_messages_pass_both_ways() -> None:
    text = "x" * (3 << 20)
    with Responder(COMMAND, os.environ, who="the test") as responder:
        assert responder.ask({"echo": text}, LIMITS)["echo"] == text


def test_a_process_that_does_not_read_holds_nobody_up() -> None:
    with (
        Responder(
            (sys.executable, "-c", "import time; time.sleep(300)"), os.environ, who=""
        ) as deaf,
        pytest.raises(Unanswered) as unanswered,
    ):
        deaf.ask({"echo": "x" * (3 << 20)}, Limits(0.5, 1 << 30))
    assert unanswered.value.outcome.ending is Ending.OUT_OF_TIME


def test_a_process_that_ends_says_what_it_printed() -> None:
    with Responder(COMMAND, os.environ, who="the test") as responder:
        responder.ask({"do": "print('earlier')"}, LIMITS)
        deadline = time.monotonic() + 30
        while "earlier" not in responder.child.output.text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(Unanswered) as unanswered:
            responder.ask({"do": "raise ValueError('the reason')"}, LIMITS)
    outcome, output = unanswered.value.outcome, unanswered.value.output
    assert (outcome.ending, outcome.exit_code) == (Ending.FINISHED, 1)
    assert output.endswith("ValueError: the reason\n")
    assert "earlier" not in output


def test_a_process_that_ended_before_it_was_asked_says_why() -> None:
    with Responder(
        (sys.executable, "-c", "raise SystemExit('the reason')"), os.environ, who="the test"
    ) as responder:
        responder.child.process.wait(30)
        deadline = time.monotonic() + 30
        while not responder.child.output.text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(Unanswered) as unanswered:
            responder.ask({}, LIMITS)
    assert unanswered.value.outcome.exit_code == 1
    assert unanswered.value.output == "the reason\n"


def test_a_reply_that_is_no_message_ends_the_process() -> None:
    garbled = """
import os, time
from etchmark.evaluation.channel import mark
os.write(1, mark(os.environ["ETCHMARK_SUPERVISED"]) + b"\\xff" * 9)
time.sleep(300)
"""
    responder = Responder((sys.executable, "-c", garbled), os.environ, who="the test")
    with pytest.raises(Unanswered):
        responder.ask({}, LIMITS)
    assert not _runs(responder.child.process.pid)


# --- a process that is kept --------------------------------------------------------------------


def test_a_process_is_kept_and_replaced_after_so_many_requests(make: Make) -> None:
    kept = make(keeping=Keeping(requests=3))
    assert kept.pid is None, "nothing is started before it is needed"
    pids = [kept.ask({}, LIMITS)["pid"] for _ in range(7)]
    assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]
    assert _runs(pids[6])
    assert not _runs(pids[0])
    assert not _runs(pids[3])


def test_a_request_that_takes_too_long_is_stopped_and_the_next_one_works(make: Make) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]
    with pytest.raises(Unanswered) as unanswered:
        kept.ask(SLEEP, Limits(0.5, 1 << 30))
    assert unanswered.value.outcome.ending is Ending.OUT_OF_TIME
    assert not _runs(first)
    assert kept.ask({}, LIMITS)["pid"] != first


def test_time_is_counted_for_each_request(make: Make) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]
    for _ in range(4):
        assert kept.ask({"do": "time.sleep(0.5)"}, Limits(1.5, 1 << 30))["pid"] == first


@LINUX
def test_memory_of_a_grandchild_counts(make: Make) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]
    eat = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        held.append(b"x" * (300 << 20))
        time.sleep(300)
    os._exit(0)
time.sleep(300)
"""
    with pytest.raises(Unanswered) as unanswered:
        kept.ask({"do": eat}, Limits(60.0, 200 << 20))
    assert unanswered.value.outcome.ending is Ending.OUT_OF_MEMORY
    assert not _runs(first)
    assert kept.ask({}, LIMITS)["pid"] != first


def test_memory_that_a_request_leaves_is_given_back(make: Make) -> None:
    kept = make(keeping=Keeping(kept_bytes=200 << 20))
    first = kept.ask({}, LIMITS)["pid"]
    assert kept.ask({"do": "held.append(b'x' * (300 << 20))"}, LIMITS)["pid"] == first
    assert not _runs(first)
    assert kept.ask({}, LIMITS)["pid"] != first


@LINUX
def test_a_process_that_a_request_leaves_is_ended(make: Make, tmp_path: Path) -> None:
    kept = make()
    pids = tmp_path / "pids"
    leave = f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1024)
        open({str(pids)!r} + "-", "w").write(str(os.getpid()))
        os.rename({str(pids)!r} + "-", {str(pids)!r})
        time.sleep(300)
    os._exit(0)
while not os.path.exists({str(pids)!r}): time.sleep(0.01)
"""
    first = kept.ask({"do": leave}, LIMITS)["pid"]
    assert not _runs(int(pids.read_text()))
    assert kept.ask({}, LIMITS)["pid"] != first


def test_a_process_that_may_not_be_used_again_is_not(make: Make) -> None:
    kept = make()
    first = kept.ask({"reusable": False}, LIMITS)["pid"]
    assert kept.ask({}, LIMITS)["pid"] != first


def test_a_process_that_was_killed_between_requests_is_replaced(make: Make) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]
    psutil.Process(first).kill()
    assert _ends(first)
    assert kept.ask({}, LIMITS)["pid"] != first


@LINUX
def test_a_process_whose_threads_are_still_ending_is_replaced(make: Make) -> None:
    """Killed, but not yet to be waited for: only its first thread has ended."""
    ends = """
import ctypes, platform, signal, threading
libc = ctypes.CDLL(None)
exits = 93 if platform.machine() == "aarch64" else 60
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGUSR1)).start()
signal.signal(signal.SIGUSR1, lambda *_: libc.syscall(exits, 0))
"""
    kept = make()
    first = kept.ask({"do": ends}, LIMITS)["pid"]
    assert _ends(first)
    assert psutil.Process(first).status() == psutil.STATUS_ZOMBIE
    assert kept.ask({}, LIMITS)["pid"] != first


def test_a_process_that_is_killed_amid_a_request(make: Make, tmp_path: Path) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(kept.ask, _slow(tmp_path / "started", 300), LIMITS)
        _wait_for(tmp_path / "started")
        psutil.Process(first).kill()
        with pytest.raises(Unanswered) as unanswered:
            request.result(30)
    assert unanswered.value.outcome.exit_code == -signal.SIGKILL
    assert kept.ask({}, LIMITS)["pid"] != first


def test_a_process_is_replaced_when_what_it_depends_on_changes(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = [1]
    kept = make(state=lambda: list(state))
    pids = [kept.ask({}, LIMITS)["pid"], kept.ask({}, LIMITS)["pid"]]
    state.append(2)
    pids.append(kept.ask({}, LIMITS)["pid"])
    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path))
    pids.append(kept.ask({}, LIMITS)["pid"])
    monkeypatch.chdir(tmp_path)
    pids.append(kept.ask({}, LIMITS)["pid"])
    assert [pids.index(pid) for pid in pids] == [0, 0, 2, 3, 4]


def test_threads_take_turns(make: Make) -> None:
    kept = make()
    begun = kept.ask({"do": "import threading; at = []"}, LIMITS)["pid"]
    turn = "at.append(1); time.sleep(0.1); assert len(at) == 1; at.pop()"
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: kept.ask({"do": turn, "echo": n}, LIMITS), range(8)))
    assert [reply["echo"] for reply in replies] == list(range(8))
    assert {reply["pid"] for reply in replies} == {begun}


def test_a_request_does_not_wait_for_ever(make: Make, tmp_path: Path) -> None:
    kept = make(keeping=Keeping(wait_seconds=0.2))
    first = kept.ask({}, LIMITS)["pid"]
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(kept.ask, _slow(tmp_path / "started", 2), LIMITS)
        _wait_for(tmp_path / "started")
        with pytest.raises(Busy):
            kept.ask({}, LIMITS)
        assert slow.result(30)["pid"] == first
    assert kept.ask({}, LIMITS)["pid"] == first


def test_an_error_of_whoever_asks_ends_the_process(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make()
    first = kept.ask({}, LIMITS)["pid"]

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("etchmark.evaluation.process._exceeds", interrupt)
        with pytest.raises(KeyboardInterrupt):
            kept.ask(SLEEP, LIMITS)
    assert not _runs(first)
    assert kept.ask({}, LIMITS)["pid"] != first


# --- the process that asks ---------------------------------------------------------------------

SERVER = """
import os, sys, threading, time
from etchmark.evaluation.options import Limits
from etchmark.evaluation.responder import KeptResponder
command, request = [sys.executable, "-c", sys.argv[1]], sys.argv[2]
kept = KeptResponder(command, who="the test", environment=lambda: os.environ)
print(kept.ask({}, Limits(60.0))["pid"], flush=True)
if request:
    threading.Thread(target=kept.ask, args=({"do": request}, Limits(60.0)), daemon=True).start()
sys.stdin.read()
"""


def _server(request: str) -> tuple[subprocess.Popen[bytes], int]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, CODE, request],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert server.stdout is not None
    return server, int(server.stdout.readline())


@pytest.mark.parametrize("request_", ["", "time.sleep(300)"])
def test_a_process_ends_with_the_one_that_asked(request_: str) -> None:
    server, pid = _server(request_)
    assert server.communicate(timeout=30) == (b"", b"")
    assert server.returncode == 0
    assert _ends(pid)


@LINUX
@pytest.mark.parametrize("request_", ["", "subprocess.run(['sleep', '300'])"])
def test_a_process_ends_with_one_that_is_killed(request_: str) -> None:
    server, pid = _server(request_)
    children: list[int] = []
    deadline = time.monotonic() + 30
    while request_ and not children and time.monotonic() < deadline:
        children = [child.pid for child in psutil.Process(pid).children()]
    assert bool(children) == bool(request_)
    server.kill()
    server.communicate(timeout=30)
    assert _ends(pid)
    assert all(_ends(child) for child in children)


def test_no_thread_is_left(make: Make) -> None:
    before = threading.active_count()
    kept = make(keeping=Keeping(requests=1))
    for _ in range(3):
        kept.ask({}, LIMITS)
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
