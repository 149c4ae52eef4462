"""What the harness reads of the machine that it runs on."""

from __future__ import annotations

import pytest

from etchmark import environment


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f amx_bf16", True), ("fpu avx512f avx512_bf16", True), ("fpu avx512f", False)],
)
def test_two_kinds_of_processor_multiply_bfloat16(monkeypatch, flags, expected):
    monkeypatch.setattr(environment, "_of_processor", {"flags": flags}.get)
    assert environment.cpu_multiplies_bfloat16() is expected


def test_a_processor_that_says_nothing_of_itself_multiplies_no_bfloat16(monkeypatch):
    monkeypatch.setattr(environment, "_of_processor", {}.get)
    assert environment.cpu_multiplies_bfloat16() is False
