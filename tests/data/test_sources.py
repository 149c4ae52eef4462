"""Pinned downloads against a scripted server on 127.0.0.1."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from servers import (
    ENDLESS_CAP_BYTES,
    Behaviour,
    Handler,
    Server,
    cut,
    drip,
    endless,
    gated,
    ignore_range,
    ok,
    other,
    refuse_range,
    serving,
    slowly,
    stall,
    status,
    until_close,
    wrong_range,
)

from etchmark.data import sources, transfer
from etchmark.data.sources import (
    SourceFile,
    SourcesUnavailable,
    Transfer,
    fetch,
    missing,
    read_listing,
)
from etchmark.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Sources(Server):
    """Serves files of one repository, each with its pin."""

    @property
    def url(self) -> str:
        return f"{self.host}/raw"

    def publish(self, path: str, content: bytes, *behaviours: Behaviour) -> SourceFile:
        self.add(path, content, *behaviours)
        return pin(path, content)


def pin(path: str, content: bytes) -> SourceFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return SourceFile("github.com", "owner", "repo", COMMIT, path, sha256, len(content))


def place(folder: Path, file: SourceFile, content: bytes) -> Path:
    target = folder / "github.com" / "owner" / "repo" / COMMIT / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {".lock"}


def noise(size: int, seed: int = 0) -> bytes:
    block = hashlib.sha256(str(seed).encode()).digest()
    return (block * (size // len(block) + 1))[: size - 4] + seed.to_bytes(4, "big")


@pytest.fixture(autouse=True)
def _settings(request, monkeypatch, tmp_path):
    for name in ("ETCHMARK_OFFLINE", "HF_HUB_OFFLINE", "ETCHMARK_SOURCES_URL"):
        monkeypatch.delenv(name, raising=False)
    if not request.node.get_closest_marker("mirror"):
        monkeypatch.delenv("ETCHMARK_MIRROR", raising=False)
    monkeypatch.setenv("ETCHMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Sources]:
    with serving(Sources(f"/raw/owner/repo/{COMMIT}/")) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def get(server: Sources, cache: Path):
    """``fetch`` from the scripted server into ``cache``, with short pauses."""

    def run(*files: SourceFile, **options) -> dict[SourceFile, Path]:
        options = {"base_url": server.url, "cache": cache, "backoff_s": 0.005} | options
        names = ("base_url", "workers", "backoff_s")
        how = Transfer(**{name: options.pop(name) for name in names if name in options})
        return fetch(files, how=how, **options)

    return run


# ---------------------------------------------------------------- downloads


@pytest.mark.parametrize(
    "path",
    [
        "data.xlsx",
        "a folder/Paper 1 #2 (x=3).mat",
        "Gefüge/Härte µm – 100%.npy",
        "a+b&c=d;e?f.txt",
        "percent %23 escaped.txt",
    ],
)
def test_a_file_comes_whole_under_its_own_name(server, get, cache, path):
    content = noise(200_000)
    file = server.publish(path, content)
    got = get(file)[file]
    assert got == cache / "github.com" / "owner" / "repo" / COMMIT / path
    assert got.read_bytes() == content
    assert [hit[1:] for hit in server.hits] == [(None, 200, len(content))]
    get(file)
    assert len(server.hits) == 1, "the second time it is in the cache"


def test_sixty_files_come_in_parallel_and_in_order(server, get, cache):
    files = [server.publish(f"f/{n}.npy", noise(3000 + n, n)) for n in range(60)]
    for file in files[:4]:
        server.script[file.path] = iter([gated])  # held until four are asked for at once
    opener = threading.Thread(target=_open_when_busy, args=(server, 4))
    opener.start()
    got = get(*files, workers=4)
    opener.join()
    assert server.most_busy == 4
    assert list(got) == files
    assert all(path.read_bytes() == server.content[file.path] for file, path in got.items())
    assert len(server.hits) == 60
    assert len(files_in(cache)) == 60


def _open_when_busy(server: Sources, count: int) -> None:
    deadline = time.monotonic() + 5
    while server.busy < count and time.monotonic() < deadline:
        time.sleep(0.005)
    server.gate.set()


def test_a_cut_connection_is_resumed_where_it_broke(server, get):
    content = noise(300_000)
    file = server.publish("a.bin", content, cut(100_000), cut(50_000))
    assert get(file)[file].read_bytes() == content
    first, second, third = server.hits
    assert (first.range, first.sent) == (None, 100_000)
    assert (second.range, second.status) == ("bytes=100000-", 206)
    assert (third.range, third.status, third.sent) == ("bytes=150000-", 206, 150_000)


@pytest.mark.parametrize("behaviour", [ignore_range, wrong_range, refuse_range, until_close])
def test_a_server_that_cannot_continue_makes_the_download_start_afresh(server, get, behaviour):
    content = noise(300_000)
    file = server.publish("a.bin", content, cut(100_000), behaviour)
    assert get(file)[file].read_bytes() == content
    assert server.hits[1].range == "bytes=100000-"
    if behaviour is ignore_range:
        assert len(server.hits) == 2


def test_a_wrong_range_is_seen_before_it_spoils_the_part_file(server, get):
    content = noise(300_000)
    file = server.publish("a.bin", content, cut(100_000), wrong_range, other(b"not yet"))
    assert get(file)[file].read_bytes() == content, "the one fresh retry was still to be had"


def test_no_compression_is_asked_for(server, get):
    def compress(handler: Handler, content: bytes) -> None:
        squeeze = "gzip" in handler.headers.get("Accept-Encoding", "")
        ok(handler, gzip.compress(content) if squeeze else content)

    file = server.publish("a.bin", noise(2000), compress)
    assert get(file)[file].read_bytes() == noise(2000)
    assert len(server.hits) == 1


def test_the_bytes_are_on_disk_before_the_name_is(server, get, cache, monkeypatch):
    synced: list[set[str]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(files_in(cache)), fsync(fd)))
    get(server.publish("a.bin", noise(2000)))
    assert synced == [{".a.bin.part"}]


def test_a_body_without_length_that_ends_early_counts_as_cut(server, get):
    file = server.publish("a.bin", noise(1000), until_close)
    assert get(file)[file].read_bytes() == noise(1000)
    assert [hit.range for hit in server.hits] == [None, "bytes=500-"]


def test_a_silent_server_is_left_after_the_read_timeout(server, get, monkeypatch):
    monkeypatch.setattr(transfer, "READ_S", 0.2)
    content = noise(300_000)
    file = server.publish("a.bin", content, stall)
    assert get(file)[file].read_bytes() == content
    assert server.hits[0].range, "the resumed request ended first; the silent one still hangs"


@pytest.mark.parametrize("bad", [b"<html>log in</html>", noise(2000, seed=9), noise(1999)])
def test_wrong_bytes_are_fetched_afresh_once(server, get, bad):
    file = server.publish("a.bin", noise(2000), other(bad))
    assert get(file)[file].read_bytes() == noise(2000)
    assert [hit.range for hit in server.hits] == [None, None]


def test_wrong_bytes_twice_are_an_error_with_both_hashes(server, get, cache):
    bad = noise(2000, seed=9)
    file = server.publish("a.bin", noise(2000), other(bad), other(bad))
    with pytest.raises(UserError, match="changed there or was altered in transit") as caught:
        get(file)
    assert not isinstance(caught.value, SourcesUnavailable)
    assert f"expected 2000 bytes with sha256 {file.sha256}" in str(caught.value)
    assert f"got 2000 bytes with sha256 {hashlib.sha256(bad).hexdigest()}" in str(caught.value)
    assert "a.bin" in str(caught.value)
    assert len(server.hits) == 2
    assert not files_in(cache)


def test_an_endless_stream_is_read_to_one_byte_above_the_size(server, get, cache):
    file = server.publish("a.bin", noise(2000), endless, endless)
    read = hashlib.sha256(b"x" * 2001).hexdigest()
    with pytest.raises(UserError, match=f"got more than 2000 bytes with sha256 {read}"):
        get(file)
    assert not files_in(cache)
    deadline = time.monotonic() + 5
    while len(server.log) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.hits) == 2
    assert all(hit.sent < ENDLESS_CAP_BYTES for hit in server.hits), "we hung up"


def test_a_part_file_of_wrong_bytes_is_not_trusted(server, get, cache):
    file = server.publish("a.bin", noise(2000))
    for torn in (b"y" * 700, b"y" * 2000, b"y" * 5000):
        place(cache, file, b"").unlink()
        (cache / file.location).with_name(".a.bin.part").write_bytes(torn)
        assert get(file)[file].read_bytes() == noise(2000)
    assert files_in(cache) == {"a.bin"}


@pytest.mark.parametrize("code", [401, 403, 404, 410, 204])
def test_a_refusal_is_final_at_once(server, get, cache, code):
    file = server.publish("a.bin", noise(2000), status(code))
    with pytest.raises(UserError, match=f"answers {code}.*ETCHMARK_MIRROR") as caught:
        get(file)
    assert not isinstance(caught.value, SourcesUnavailable)
    assert len(server.hits) == 1
    assert not files_in(cache)


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(server, get, code):
    file = server.publish("a.bin", noise(2000), status(code), status(code))
    assert get(file)[file].read_bytes() == noise(2000)
    assert [hit.status for hit in server.hits] == [code, code, 200]


@pytest.mark.parametrize("date", [False, True])
def test_retry_after_is_honoured_up_to_the_cap(server, get, monkeypatch, date):
    monkeypatch.setattr(transfer, "RETRY_AFTER_CAP_S", 0.4)
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    busy = status(429, Retry_After=when if date else "100")
    file = server.publish("a.bin", noise(2000), busy)
    start = time.monotonic()
    get(file)
    assert 0.4 <= time.monotonic() - start < 3


@pytest.mark.parametrize("value", ["soon", "0", "-5"])
def test_an_odd_retry_after_is_no_obstacle(server, get, value):
    file = server.publish("a.bin", noise(2000), status(503, Retry_After=value))
    assert get(file)[file].read_bytes() == noise(2000)


def test_pauses_grow_and_a_host_that_stays_down_is_unavailable(server, get, cache):
    file = server.publish("a.bin", noise(2000), *[status(503)] * 99)
    start = time.monotonic()
    with pytest.raises(SourcesUnavailable, match="answered 503 \\(5 tries\\)"):
        get(file, backoff_s=0.04)
    # At least half of 0.04 + 0.08 + 0.16 + 0.32; four equal pauses would make 0.16 at most.
    assert 0.3 <= time.monotonic() - start < 3
    assert len(server.hits) == transfer.TRIES == 5
    assert not files_in(cache)


def test_what_came_before_the_host_went_down_is_not_missing(server, get, cache):
    here = server.publish("here.bin", noise(2000))
    down = server.publish("down.bin", noise(3000), *[status(503)] * 99)
    with pytest.raises(SourcesUnavailable, match=r"/down\.bin: .*1 of 2 files, 3\.0 kB"):
        get(here, down, workers=1)
    assert files_in(cache) == {"here.bin"}


def test_a_host_out_of_reach_is_unavailable(cache, get):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SourcesUnavailable, match="ETCHMARK_MIRROR") as caught:
            get(pin("a b.bin", noise(1500)), pin("c.bin", noise(1000)), base_url=base_url)
    message = str(caught.value)
    assert message.startswith(f"{base_url}/owner/repo/{COMMIT}/a%20b.bin: ")
    assert "2 of 2 files, 2.5 kB" in message
    assert "refused" in message


def test_a_malformed_base_url_is_the_callers_mistake(get):
    with pytest.raises(UserError, match="ETCHMARK_SOURCES_URL"):
        get(pin("a.bin", noise(1500)), base_url="nowhere")


def test_one_final_failure_stops_the_rest_and_keeps_what_is_whole(server, get, cache):
    done = [server.publish(f"done{n}.bin", noise(1000, n)) for n in range(3)]
    slow = server.publish("slow.bin", noise(65536 * 200), drip)  # 20 s in full

    def refuse(handler: Handler, content: bytes) -> None:
        while len(server.log) < 3:  # first the three are to finish
            time.sleep(0.01)
        time.sleep(0.2)
        status(404)(handler, content)

    gone = server.publish("gone.bin", noise(1000, 7), refuse)
    late = [server.publish(f"late{n}.bin", noise(1000, 10 + n), slowly) for n in range(9)]
    start = time.monotonic()
    with pytest.raises(UserError, match=r"gone\.bin.*404"):
        get(*done, slow, gone, *late, workers=3)
    assert time.monotonic() - start < 5
    kept = files_in(cache)
    assert {"done0.bin", "done1.bin", "done2.bin", ".slow.bin.part"} <= kept
    assert "slow.bin" not in kept
    asked = {hit.path for hit in server.hits}
    assert not {file.path for file in late[2:]} & asked, "the queue was dropped"
    server.log.clear()
    got = get(*done, slow, gone, *late)
    assert not {hit.path for hit in server.hits} & {file.path for file in done}
    assert server.hits_of(slow.path)[0].range
    assert got[slow].read_bytes() == noise(65536 * 200)


def test_an_unwritable_cache_is_a_clear_error(server, get, tmp_path):
    (tmp_path / "file").write_text("in the way")
    file = server.publish("a.bin", noise(2000))
    with pytest.raises(UserError, match="cannot write below"):
        get(file, cache=tmp_path / "file" / "cache")


def test_two_pins_of_one_path_are_refused(get):
    with pytest.raises(UserError, match=r"is pinned twice, .*; keep one"):
        get(pin("a.bin", noise(1000)), pin("a.bin", noise(1001)))


def test_the_bar_shows_only_when_it_should(server, get, capfd):
    get(server.publish("a.bin", noise(2000)))
    assert capfd.readouterr().err == ""
    get(server.publish("b.bin", noise(300_000), cut(100_000), ignore_range), progress=True)
    assert "300k/300k" in capfd.readouterr().err


# ---------------------------------------------------------------- mirror, cache, offline


def test_the_mirror_is_used_in_place_without_network(server, get, cache, tmp_path, monkeypatch):
    file = server.publish("a (1).bin", noise(2000))
    path = place(tmp_path / "mirror", file, noise(2000))
    assert get(file, mirror=tmp_path / "mirror") == {file: path}
    monkeypatch.setenv("ETCHMARK_MIRROR", str(tmp_path / "mirror"))
    assert get(file, offline=True) == {file: path}
    assert not server.hits
    assert not cache.exists()


def test_what_the_mirror_lacks_comes_from_the_network(server, get, tmp_path):
    here, there = (
        server.publish("here.bin", noise(2000)),
        server.publish("there.bin", noise(2000, 1)),
    )
    path = place(tmp_path / "mirror", here, noise(2000))
    got = get(here, there, mirror=tmp_path / "mirror")
    assert got[here] == path
    assert got[there].read_bytes() == noise(2000, 1)
    assert [hit.path for hit in server.hits] == ["there.bin"]


@pytest.mark.parametrize("bad", [noise(2000, seed=5), noise(1999)])
def test_a_damaged_mirror_is_reported_not_replaced(server, get, tmp_path, bad):
    file = server.publish("a.bin", noise(2000))
    path = place(tmp_path / "mirror", file, bad)
    with pytest.raises(UserError, match="the mirror is damaged") as caught:
        get(file, mirror=tmp_path / "mirror")
    assert not isinstance(caught.value, SourcesUnavailable)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == bad
    assert not server.hits


@pytest.mark.parametrize("bad", [noise(2000, seed=5), noise(1999)])
def test_a_damaged_cache_is_fetched_again(server, get, cache, bad):
    file = server.publish("a.bin", noise(2000))
    path = place(cache, file, bad)
    assert get(file) == {file: path}
    assert path.read_bytes() == noise(2000)
    assert len(server.hits) == 1


def test_a_damaged_cached_file_is_discarded_even_if_it_cannot_be_had(server, get, cache):
    file = server.publish("a.bin", noise(2000), status(404))
    place(cache, file, noise(2000, seed=5))
    with pytest.raises(UserError, match="404"):
        get(file)
    assert not files_in(cache)


def test_a_cache_is_a_valid_mirror(server, get, cache):
    file = server.publish("a.bin", noise(2000))
    got = get(file)
    assert get(file, mirror=cache, cache=cache / "elsewhere", offline=True) == got


@pytest.mark.parametrize("how", ["argument", "ETCHMARK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_names_what_is_missing_and_the_remedy(server, get, cache, monkeypatch, how):
    here = server.publish("here.bin", noise(2000))
    place(cache, here, noise(2000))
    lacking = [server.publish(f"b #{n}.bin", noise(700_000 + n)) for n in range(3)]
    if how != "argument":
        monkeypatch.setenv(how, "1")
    with pytest.raises(SourcesUnavailable) as caught:
        get(here, *lacking, **({"offline": True} if how == "argument" else {}))
    assert isinstance(caught.value, UserError)
    message = str(caught.value)
    assert message.startswith(f"{server.url}/owner/repo/{COMMIT}/b%20%230.bin: ")
    assert "3 of 4 files, 2.1 MB" in message
    assert "ETCHMARK_MIRROR" in message
    assert "\n" not in message
    assert not server.hits
    assert files_in(cache) == {"here.bin"}


def test_defaults_are_the_settings(server, monkeypatch, tmp_path):
    monkeypatch.setenv("ETCHMARK_SOURCES_URL", server.url + "/")
    file = server.publish("a.bin", noise(2000))
    assert missing([file]) == [file]
    path = fetch([file])[file]
    assert path.is_relative_to(tmp_path / "home" / "sources")
    assert missing([file]) == []


def test_missing_looks_at_sizes_in_mirror_and_cache(cache, tmp_path):
    files = [pin(f"{n}.bin", noise(1000, n)) for n in range(4)]
    place(tmp_path / "mirror", files[0], noise(1000, 0))
    place(cache, files[1], b"z" * 1000)  # not hashed: that is for fetch
    place(cache, files[2], noise(999))
    assert missing(files, mirror=tmp_path / "mirror", cache=cache) == files[2:]


def test_many_local_files_are_checked_quickly(cache, get):
    files = [pin(f"{n}.npy", noise(4000, n)) for n in range(1490)]
    for n, file in enumerate(files):
        place(cache, file, noise(4000, n))
    start = time.monotonic()
    assert len(get(*files, offline=True)) == 1490
    assert time.monotonic() - start < 3


# ---------------------------------------------------------------- processes

CHILD = """
import sys
from pathlib import Path
from etchmark.data.sources import SourceFile, Transfer, fetch
cache, base_url, workers, *pins = sys.argv[1:]
files = [SourceFile("github.com", "owner", "repo", "{commit}", *pin.split("|")[:2],
                    int(pin.split("|")[2])) for pin in pins]
print("started", flush=True)
fetch(files, cache=Path(cache), how=Transfer(base_url, int(workers), 0.005))
""".replace("{commit}", COMMIT)


def start_child(server: Sources, cache: Path, *files: SourceFile) -> subprocess.Popen[str]:
    pins = [f"{file.path}|{file.sha256}|{file.size}" for file in files]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(cache), server.url, "2", *pins],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(sources.__file__).parents[2])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    return child


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_leaves_a_part_file_that_the_next_run_resumes(server, get, cache):
    content = noise(400_000)
    file = server.publish("a.bin", content, stall)
    child = start_child(server, cache, file)
    part = (cache / file.location).with_name(".a.bin.part")
    deadline = time.monotonic() + 10
    while not (part.exists() and part.stat().st_size > 65536) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert files_in(cache) == {".a.bin.part"}
    held = part.stat().st_size
    assert 65536 < held < len(content)
    assert get(file)[file].read_bytes() == content
    resumed = server.hits_of(file.path)[0]  # the stalled request has not ended yet
    assert (resumed.range, resumed.sent) == (f"bytes={held}-", len(content) - held)
    assert files_in(cache) == {"a.bin"}


def test_two_processes_at_once_fetch_every_file_once(server, cache):
    files = [server.publish(f"{n}.bin", noise(100_000, n), gated) for n in range(12)]
    children = [start_child(server, cache, *files) for _ in range(2)]
    time.sleep(0.3)  # both have started; nothing is served before this moment
    server.gate.set()
    for child in children:
        _, errors = child.communicate(timeout=20)
        assert child.returncode == 0, errors
    assert len(server.hits) == len(files)
    assert files_in(cache) == {file.path for file in files}
    assert all((cache / f.location).read_bytes() == server.content[f.path] for f in files)


def test_two_threads_at_once_do_not_damage_each_other(server, get):
    files = [server.publish(f"{n}.bin", noise(50_000, n)) for n in range(12)]
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(get, *files) for _ in range(3)]:
            assert all(p.read_bytes() == server.content[f.path] for f, p in future.result().items())
    assert len(server.hits) == len(files)


def test_the_import_is_light():
    heavy = "{'requests', 'tqdm', 'filelock', 'numpy', 'pandas'}"
    code = f"import sys, etchmark.data.sources; sys.exit(str({heavy} & set(sys.modules) or ''))"
    env = os.environ | {"PYTHONPATH": str(Path(sources.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stderr.strip() == ""


# ---------------------------------------------------------------- listings

SHA = "ab" * 32
WHERE = {"host": "github.com", "owner": "owner", "repo": "repo", "commit": COMMIT}


def listing(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "listing.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_listing_is_read(tmp_path):
    path = listing(
        tmp_path, f'sha256,path,bytes\n{SHA.upper()},"a, #(1) µ.mat",12\n{SHA},.b/..c,345\n'
    )
    first, second = read_listing(path, **WHERE)
    assert first == SourceFile("github.com", "owner", "repo", COMMIT, "a, #(1) µ.mat", SHA, 12)
    assert (second.path, second.size) == (".b/..c", 345)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"/etc/passwd,1,{SHA}", "relative path"),
        (f"a/../../b,1,{SHA}", "relative path"),
        (f"..,1,{SHA}", "relative path"),
        (f"a/./b,1,{SHA}", "relative path"),
        (f"a//b,1,{SHA}", "relative path"),
        (f"a/,1,{SHA}", "relative path"),
        (f"a\\..\\b,1,{SHA}", "relative path"),
        (f"C:/a,1,{SHA}", "relative path"),
        (f"a\tb,1,{SHA}", "relative path"),
        (f",1,{SHA}", "relative path"),
        (f"a,0,{SHA}", "positive"),
        (f"a,-1,{SHA}", "positive"),
        (f"a,1.5,{SHA}", "positive"),
        (f"a,1_0,{SHA}", "positive"),
        (f"a,,{SHA}", "positive"),
        (f"a,1,{SHA[:-1]}", "64 hex digits"),
        (f"a,1,{SHA[:-1]}g", "64 hex digits"),
        ("a,1", "cells"),
        (f"a,1,{SHA},more", "cells"),
        (f"first,1,{SHA}", "twice"),
    ],
)
def test_a_malformed_row_is_refused_with_its_line(tmp_path, row, complaint):
    path = listing(tmp_path, f"path,bytes,sha256\nfirst,1,{SHA}\n{row}\n")
    with pytest.raises(UserError, match=complaint) as caught:
        read_listing(path, **WHERE)
    assert str(caught.value).startswith(f"{path}, line 3: ")


def test_malformed_listings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"line 1: the header lacks bytes, sha256"):
        read_listing(listing(tmp_path, "path,size\na,1\n"), **WHERE)
    with pytest.raises(UserError, match="no file is listed"):
        read_listing(listing(tmp_path, "path,bytes,sha256\n"), **WHERE)
    with pytest.raises(UserError, match="lacks"):
        read_listing(listing(tmp_path, ""), **WHERE)
    with pytest.raises(UserError, match=r"absent\.csv"):
        read_listing(tmp_path / "absent.csv", **WHERE)
    path = tmp_path / "latin.csv"
    path.write_bytes("path,bytes,sha256\nµ,1,".encode("latin-1") + SHA.encode())
    with pytest.raises(UserError, match=r"latin\.csv"):
        read_listing(path, **WHERE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("commit", "main"),
        ("commit", COMMIT + "0"),
        ("commit", COMMIT.upper()),
        ("owner", ".."),
        ("repo", "a/b"),
        ("host", ""),
    ],
)
def test_a_malformed_repository_is_refused(tmp_path, name, value):
    path = listing(tmp_path, f"path,bytes,sha256\na,1,{SHA}\n")
    with pytest.raises(UserError, match=f"{name} .* is not"):
        read_listing(path, **(WHERE | {name: value}))


# ---------------------------------------------------------------- real files

REAL = [
    SourceFile(
        "github.com",
        "bdecost",
        "uhcs-segment",
        "7aea6f37f5246bb2570e0300f224db7f186a5fc3",
        "data/uhcs-validation-sets.json",
        "154772ee10d6d232dddd02a45f7c476c8b361a2707e916f288c9cbada14fce68",
        453,
    ),
    SourceFile(
        "github.com",
        "leibo-cmu",
        "MatSeg",
        "d32b2effbd73c30a80043ad9c1be1745b0a36ad4",
        "data/uhcs/train/images/uhcs0007.tif",
        "8427e979c09e946aedb4318d2e82decdc6416056339e341484918ae9ebea12f9",
        312302,
    ),
    SourceFile(
        "github.com",
        "whishei",
        "MicroPropViT",
        "e13be63e0b270932e8c1747c6c5fab15c3c66e2d",
        "Experimental_case_study/Features/Paper1-6Al2W1Mo-1000_dino_s.npy",
        "13e3d455c2b85a948bdf87a0efffb81ebf751a20da64e2db4d6a107d760cf264",
        1664,
    ),
]


@pytest.mark.mirror
def test_real_files_verify_in_the_mirror(cache):
    if not os.environ.get("ETCHMARK_MIRROR"):
        pytest.skip("ETCHMARK_MIRROR is not set: no mirror of the upstream files to verify")
    assert missing(REAL, cache=cache) == []
    got = fetch(REAL, cache=cache, offline=True)
    mirror = Path(os.environ["ETCHMARK_MIRROR"]).absolute()
    assert all(path.is_relative_to(mirror) for path in got.values())
    assert not cache.exists()
