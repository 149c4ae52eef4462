"""The training loop ends in the same weights, interrupted or not."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etchmark.learning import checkpoint, training  # noqa: E402
from etchmark.learning.training import BetweenLimits, Schedule, identity  # noqa: E402

SCHEDULE = Schedule(epochs=4, batch=4, learning_rate=0.01, weight_decay=0.1)
ROWS = 10


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the schedule ------------------------------------------------------------------------------


def test_the_rate_rises_to_its_highest_and_falls_to_zero():
    schedule = Schedule(epochs=1, batch=1, learning_rate=0.3, warmup=0.2)
    rates = [schedule.rate(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.15)
    assert rates[20] == pytest.approx(0.3)
    assert rates[60] == pytest.approx(0.15)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert Schedule(1, 1, 0.3, warmup=0).rate(0) == 0.3


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"warmup": 1.0}]
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Schedule(**{"epochs": 1, "batch": 1, "learning_rate": 0.1, **wrong})


def test_the_steps_of_an_epoch_hold_every_row_once():
    steps = training._steps(10, 4, np.random.default_rng(0))
    assert [len(step) for step in steps] == [4, 3, 3]
    assert sorted(np.concatenate(steps)) == list(range(10))


# --- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_tiles", "expected"), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_bfloat16_only_where_the_processor_multiplies_it(monkeypatch, has_tiles, expected):
    monkeypatch.setattr(training, "cpu_multiplies_bfloat16", lambda: has_tiles)
    with training.autocast("cpu"):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == expected


def test_some_layers_keep_full_precision(monkeypatch):
    monkeypatch.setattr(training, "cpu_multiplies_bfloat16", lambda: True)
    layers = training.FullPrecision(nn.Linear(2, 2), nn.SiLU())
    given = torch.ones(1, 2, dtype=torch.bfloat16)
    with training.autocast("cpu"):
        assert layers(given).dtype == torch.float32
        assert nn.Sequential(*layers)(given).dtype == torch.bfloat16


# --- targets -----------------------------------------------------------------------------------

LOW, HIGH = np.array([1.0, 2.0, 3.0]), np.array([4.0, 20.0, 50.0])
BETWEEN = np.array([1.2, 9.0, 40.0])


def test_no_output_leaves_the_limits():
    scale = BetweenLimits(BETWEEN, LOW, HIGH)
    for output, expected in ((-1e9, LOW), (1e9, HIGH)):
        np.testing.assert_allclose(scale.values(np.full(3, output), LOW, HIGH), expected)


def test_values_and_the_training_error_agree_and_can_be_met():
    scale = BetweenLimits(BETWEEN, LOW, HIGH)
    outputs = np.array([-0.7, 0.1, 1.5])
    found = scale.log_ratio(torch.from_numpy(outputs), np.arange(3)).numpy()
    values = scale.values(outputs, LOW, HIGH)
    np.testing.assert_allclose(found, np.log(values / BETWEEN), atol=1e-6)
    position = np.log(BETWEEN / LOW) / np.log(HIGH / LOW)
    exact = (np.log(position / (1 - position)) - scale.mean) / scale.spread
    np.testing.assert_allclose(scale.values(exact, LOW, HIGH), BETWEEN)
    assert exact.mean() == pytest.approx(0)
    assert exact.std() == pytest.approx(1)


def test_limits_that_coincide_are_met():
    same = np.array([2.0, 2.0])
    scale = BetweenLimits(same, same, same)
    np.testing.assert_array_equal(scale.values(np.array([-3.0, 3.0]), same, same), same)


# --- the loop ----------------------------------------------------------------------------------


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def _train(
    folder: Path, seed: int = 0, stop_at: int | None = None, name: str = "a", report=None, **more
) -> dict[str, torch.Tensor]:
    """Weights after training a small network with dropout and augmentation in a folder."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    rows = torch.randn(ROWS, 3)
    wanted = rows.sum(1, keepdim=True)
    calls = 0

    def loss(chosen: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Interrupted
        noise = torch.from_numpy(generator.normal(size=(len(chosen), 3)).astype(np.float32))
        return functional.mse_loss(network(rows[chosen] + 0.1 * noise), wanted[chosen])

    training.train(
        network,
        loss,
        ROWS,
        SCHEDULE,
        seed=seed,
        device="cpu",
        who=identity(seed, SCHEDULE, network, name=name),
        report=report,
        checkpoint=folder / "checkpoint.safetensors",
        **more,
    )
    assert not network.training
    return network.state_dict()


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, torch.Tensor]:
    return _train(tmp_path / "whole")


def test_equal_seeds_give_equal_weights(tmp_path, whole):
    assert _equal(whole, _train(tmp_path / "again"))
    assert not _equal(whole, _train(tmp_path / "other", seed=1))


@pytest.mark.parametrize("stop_at", [5, 8])
def test_an_interrupted_training_ends_in_the_same_weights(tmp_path, whole, capsys, stop_at):
    # Three steps make an epoch: the fifth ends the second epoch early, the eighth the third.
    with pytest.raises(Interrupted):
        _train(tmp_path, stop_at=stop_at)
    capsys.readouterr()
    assert _equal(whole, _train(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    done = (stop_at - 1) // 3
    assert lines[0] == f"checkpoint.safetensors: {done} epochs done"
    assert [line.split(":")[0] for line in lines[1:]] == [
        f"epoch {epoch}/4" for epoch in range(done + 1, 5)
    ]


def test_a_training_that_is_done_is_not_repeated(tmp_path, whole, capsys):
    _train(tmp_path)
    capsys.readouterr()
    # Its first step would raise.
    assert _equal(whole, _train(tmp_path, stop_at=1))
    assert capsys.readouterr().out == "checkpoint.safetensors: 4 epochs done\n"


def test_every_epoch_has_an_order_and_noise_of_its_own(tmp_path):
    network, seen = nn.Linear(1, 1), []

    def loss(chosen: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        seen.append((chosen.tolist(), generator.random(), float(torch.rand(()))))
        return network(torch.ones(1, 1)).mean()

    once = Schedule(epochs=4, batch=ROWS, learning_rate=0.1)
    training.train(
        network, loss, ROWS, once, seed=0, device="cpu", who="", checkpoint=tmp_path / "c.pt"
    )
    for one in zip(*seen, strict=True):
        assert len({str(value) for value in one}) == once.epochs


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    """One byte of one weight."""
    content = bytearray(path.read_bytes())
    weights = load_file(path)["network/0.weight"].numpy().tobytes()
    content[content.index(weights)] ^= 0xFF
    path.write_bytes(bytes(content))


def _change(**changed: object) -> Callable[[Path], None]:
    """Other entries in the header, or other tensors, and a checksum that fits them."""

    def change(path: Path) -> None:
        with safe_open(path, framework="pt") as content:
            state, tensors = json.loads(content.metadata()["state"]), load_file(path)
        for name, value in changed.items():
            if isinstance(value, torch.Tensor):
                tensors[name.replace("__", "/")] = value
            elif value is None:
                tensors = {key: one for key, one in tensors.items() if not key.startswith(name)}
            else:
                state[name] = value
        text = json.dumps(state)
        digest = checkpoint._digest(text, tensors)
        save_file(tensors, path, {"state": text, "sha256": digest})

    return change


def _a_pickle(path: Path) -> None:
    torch.save({"identity": "x", "epoch": 2}, path)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _empty,
        _flip,
        _a_pickle,
        _change(**{"network__0.weight": torch.zeros(2, 2)}),
        _change(groups=[]),
        _change(epoch="two"),
        _change(network=None),
    ],
)
def test_a_damaged_checkpoint_is_ignored(tmp_path, whole, capsys, damage):
    with pytest.raises(Interrupted):
        _train(tmp_path, stop_at=8)
    damage(tmp_path / "checkpoint.safetensors")
    capsys.readouterr()
    assert _equal(whole, _train(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("checkpoint.safetensors: damaged (")
    assert lines[0].endswith("); ignored")
    assert len(lines) == 1 + SCHEDULE.epochs


def test_the_checkpoint_of_another_training_is_ignored(tmp_path, whole, capsys):
    _train(tmp_path, name="b")
    capsys.readouterr()
    assert _equal(whole, _train(tmp_path))
    assert capsys.readouterr().out.startswith(
        "checkpoint.safetensors: of another training; ignored\n"
    )


def test_a_checkpoint_is_whole_and_alone(tmp_path):
    _train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_every_epoch_has_a_line_with_its_report(tmp_path, capsys):
    _train(tmp_path, report=lambda: "validation MAPE 3 %")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == SCHEDULE.epochs
    for epoch, line in enumerate(lines, 1):
        assert line.startswith(f"epoch {epoch}/4: loss ")
        assert ", validation MAPE 3 %, " in line
        assert line.endswith(" s")


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    network = nn.Linear(1, 1)

    def loss(chosen: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        return network(torch.full((1, 1), torch.nan)).mean()

    with pytest.raises(FloatingPointError, match="nan in epoch 1"):
        training.train(
            network, loss, 3, SCHEDULE, seed=0, device="cpu", who="", checkpoint=tmp_path / "c.pt"
        )


# --- validation, beginnings of steps, progress -------------------------------------------------


def _errors(*values: float) -> Callable[[], float]:
    """The validation errors of the epochs, one after the other."""
    left = iter(values)
    return lambda: next(left)


def test_the_weights_of_the_least_error_are_kept(tmp_path, capsys):
    after = []

    def keep(path: Path) -> Callable[[], str]:
        def report() -> str:
            if path.is_file():
                after.append(
                    {
                        name.removeprefix("network/"): part
                        for name, part in load_file(path).items()
                        if name.startswith("network/")
                    }
                )
            return "kept"

        return report

    path = tmp_path / "a" / "checkpoint.safetensors"
    found = _train(path.parent, report=keep(path), validate=_errors(3.0, 1.0, 2.0, float("nan")))
    assert _equal(found, after[1])
    assert not _equal(found, after[2])
    lines = capsys.readouterr().out.splitlines()
    said = [line.partition(", validation error ")[2].rpartition(",")[0] for line in lines[:-1]]
    assert said == ["3 (best)", "1 (best)", "2", "nan"]
    assert lines[-1] == "the weights of epoch 2 are kept"
    # Read again from the checkpoint of a training that is done.
    assert _equal(_train(path.parent, stop_at=1, validate=_errors()), found)


def test_without_an_error_to_speak_of_the_last_weights_are_kept(tmp_path, whole):
    nothing = _errors(*[float("inf")] * 4)
    assert _equal(_train(tmp_path, validate=nothing, patience=1), whole)


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (None, 4)])
def test_a_training_ends_when_patience_does(tmp_path, capsys, patience, epochs):
    _train(tmp_path, validate=_errors(3, 1, 2, 0.5), patience=patience)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == epochs + 1
    # Nor does it go on when it is started again.
    _train(tmp_path, stop_at=1, validate=_errors(), patience=patience)
    best = 4 if epochs == 4 else 2
    expected = (
        f"checkpoint.safetensors: {epochs} epochs done\nthe weights of epoch {best} are kept\n"
    )
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("stop_at", [5, 8, 11])
def test_the_least_error_is_remembered_over_an_interruption(tmp_path, stop_at):
    errors = [2.0, 1.0, 3.0, 4.0]
    expected = _train(tmp_path / "whole", validate=_errors(*errors))
    with pytest.raises(Interrupted):
        _train(tmp_path / "cut", stop_at=stop_at, validate=_errors(*errors))
    left = errors[(stop_at - 1) // 3 :]
    assert _equal(_train(tmp_path / "cut", validate=_errors(*left)), expected)


def test_a_checkpoint_with_damaged_best_weights_is_ignored(tmp_path, capsys):
    errors = [2.0, 1.0, 3.0, 4.0]
    expected = _train(tmp_path, validate=_errors(*errors))
    _change(**{"best__0.weight": torch.zeros(2, 2)})(tmp_path / "checkpoint.safetensors")
    capsys.readouterr()
    assert _equal(_train(tmp_path, validate=_errors(*errors)), expected)
    assert capsys.readouterr().out.startswith(
        "checkpoint.safetensors: damaged (RuntimeError); ignored\n"
    )


def test_without_validation_a_checkpoint_holds_no_second_network(tmp_path, whole):
    _train(tmp_path)
    found = load_file(tmp_path / "checkpoint.safetensors")
    assert {name.partition("/")[0] for name in found} == {"network", "optimizer"}


def test_the_memory_layout_of_an_optimizer_outlives_an_interruption(tmp_path):
    def state() -> checkpoint.TrainingState:
        torch.manual_seed(0)
        network = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters())
        return checkpoint.TrainingState(network, optimizer, checkpoint.Best())

    before, after = state(), state()
    before.network(torch.ones(1, 4, 8, 8)).sum().backward()
    before.optimizer.step()
    before.epoch = 3
    before.save(tmp_path / "c", "me")
    assert after.resume(tmp_path / "c", "me") == "c: 3 epochs done"
    pairs = zip(before.optimizer.state.values(), after.optimizer.state.values(), strict=True)
    for one, other in pairs:
        for name, part in one.items():
            assert torch.equal(part, other[name])
            assert part.stride() == other[name].stride()


def test_fields_of_a_run_come_by_name_or_together(tmp_path):
    network = nn.Linear(1, 1)

    def loss(rows: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        return network(torch.ones(len(rows), 1)).square().mean()

    run = training.TrainingRun(seed=0, device="cpu", who="x")
    training.train(network, loss, 3, SCHEDULE, run, checkpoint=tmp_path / "c")
    assert (tmp_path / "c").is_file()
    with pytest.raises(TypeError, match="nothing"):
        training.train(network, loss, 3, SCHEDULE, run, nothing=1)


@pytest.mark.parametrize("wrong", [{"patience": 2}, {"patience": 0, "validate": lambda: 1.0}])
def test_patience_needs_something_to_wait_for(tmp_path, wrong):
    with pytest.raises(ValueError, match="wants an error to wait for"):
        _train(tmp_path, **wrong)


def test_every_step_begins_with_the_share_that_is_over(tmp_path, whole):
    seen = []
    assert _equal(_train(tmp_path, begin=seen.append), whole)
    np.testing.assert_allclose(seen, np.arange(12) / 12)


@pytest.mark.parametrize(
    ("terminal", "progress", "shown"),
    [(True, True, True), (False, True, False), (True, False, False)],
)
def test_a_bar_is_shown_on_a_terminal_if_asked_for(
    tmp_path, whole, capsys, monkeypatch, terminal, progress, shown
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert _equal(_train(tmp_path, progress=progress), whole)
    assert ("/3" in capsys.readouterr().err) == shown


def test_the_identity_depends_on_all_that_decides_the_outcome():
    network = nn.Linear(2, 1)
    ids, target = np.array(["a", "b"], dtype=object), np.array([1.0, 2.0])

    def of(seed=0, schedule=SCHEDULE, network=network, **more):
        return identity(seed, schedule, network, **{"ids": ids, "y": target, "pool": 3, **more})

    changed = [
        of(seed=1),
        of(schedule=Schedule(5, 4, 0.01, 0.1)),
        of(network=nn.Linear(3, 1)),
        of(ids=ids[::-1]),
        of(y=target + 1e-12),
        of(pool=2),
    ]
    assert of() == of(network=nn.Linear(2, 1))
    assert of() not in changed
    assert len(set(changed)) == len(changed)


def test_the_c_library_is_told_to_keep_memory_where_it_can():
    # In a process of its own: what is told cannot be taken back.
    code = "from etchmark import training; print(training.keep_memory(), training.keep_memory())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    glibc = platform.libc_ver()[0] == "glibc"
    assert done.stdout.split() == [str(glibc)] * 2, done.stderr


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(training.ctypes, "CDLL", lambda _: object())
    assert not training.keep_memory()


def test_small_helpers():
    assert training.percent_error(np.array([1.1, 1.8]), np.array([1.0, 2.0])) == pytest.approx(10)
    assert [(part.start, part.stop) for part in training.batches(5, 2)] == [(0, 2), (2, 4), (4, 5)]
    assert training.parameter_count(nn.Linear(3, 2)) == 8


def test_a_process_that_imported_it_may_fork_and_train():
    # The harness imports a model's code, then forks: threads started before would be missing.
    code = """
import os, sys
import torch
from etchmark import training
from etchmark.learning.periodic import PeriodicConv
child = os.fork()
if child == 0:
    torch.set_num_threads(2)
    PeriodicConv(3, 8, 8)(torch.randn(2, 8, 12, 12, 12)).sum().backward()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    if sys.platform != "linux":
        pytest.skip("the harness forks on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["7"], done.stderr
