"""Losses of images that are to have an exemplar's statistics, and the descent along them."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.learning.reconstruction import Exemplar
from etchmark.simulation.microstructures import generator_of, random_field

torch = pytest.importorskip("torch")


def exemplar(periodic: bool) -> Exemplar:
    return Exemplar(random_field((20, 24), 1.5, 0.4, generator_of(0)), periodic)


@pytest.mark.parametrize("periodic", [True, False])
def test_two_point_functions_agree_with_the_descriptor(periodic: bool) -> None:
    from etchmark.learning.statistics_matching import TwoPointLoss

    given = exemplar(periodic)
    loss = TwoPointLoss(given, 6, "cpu")
    images = torch.from_numpy(np.stack([given.image, 1 - given.image])).float()
    assert np.abs(loss.two_point(images)[0].numpy() - given.two_point(6)).max() < 1e-5
    own, other = loss(images)
    assert own < 1e-6
    assert other > 0.1


def test_the_reach_is_at_most_half_of_the_shorter_side() -> None:
    from etchmark.learning.statistics_matching import TwoPointLoss

    assert TwoPointLoss(exemplar(True), 31, "cpu").reach == 9


def test_logits_are_positive_at_the_fraction() -> None:
    from etchmark.learning.statistics_matching import scaled_logits

    fields = torch.from_numpy(np.random.default_rng(0).normal(3.0, 7.0, (2, 30, 30))).float()
    logits = scaled_logits(fields, 0.3, 2.0)
    assert (logits > 0).float().mean(dim=(1, 2)).numpy() == pytest.approx(0.3, abs=0.01)
    assert logits.flatten(1).std(dim=1).numpy() == pytest.approx(2.0, rel=1e-4)


def test_the_descent_finds_the_bottom_of_a_valley() -> None:
    from etchmark.learning.statistics_matching import descend

    start = torch.zeros(2, 3, 3)
    wanted = torch.arange(18.0).reshape(2, 3, 3)
    steep = torch.tensor([1.0, 30.0])
    found = descend(start, lambda x: steep * (x - wanted).square().sum(dim=(1, 2)), 30)
    assert torch.allclose(found, wanted, atol=1e-3)
    assert (start == 0).all()
