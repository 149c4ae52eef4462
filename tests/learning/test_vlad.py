"""Vectors of locally aggregated descriptors."""

from __future__ import annotations

import numpy as np
import pytest

from etchmark.learning.vlad import Vlad


def two_kinds(images: int = 20, positions: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors around (0, 0) and (10, 0), those of one kind of image shifted up, others down."""
    generator = np.random.default_rng(0)
    kind = np.arange(images) % 2
    found = 0.05 * generator.standard_normal((images, positions, 2))
    found[:, ::2, 0] += 10
    found[..., 1] += np.where(kind, 1.0, -1.0)[:, None]
    return found, kind


def test_sums_tell_kinds_apart_that_share_their_centres() -> None:
    descriptors, kind = two_kinds()
    model = Vlad(2).fit(descriptors)
    np.testing.assert_allclose(np.sort(model.places[:, 0]), [0, 10], atol=0.1)
    vectors = model.transform(descriptors)
    assert vectors.shape == (20, 4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    # Half of the length belongs to each centre, and its sign to the kind.
    np.testing.assert_allclose(np.abs(vectors[:, [1, 3]]), np.sqrt(0.5), atol=0.02)
    assert ((vectors[:, 1] > 0) == (kind == 1)).all()


def test_the_order_of_positions_does_not_matter() -> None:
    descriptors, _ = two_kinds()
    model = Vlad(2).fit(descriptors)
    np.testing.assert_allclose(
        model.transform(descriptors[:, ::-1]), model.transform(descriptors), atol=1e-12
    )


def test_a_centre_without_descriptors_stays_zero() -> None:
    descriptors, _ = two_kinds()
    model = Vlad(2).fit(descriptors)
    vector = model.transform(descriptors[:1, ::2])[0].reshape(2, 2)
    empty = int(np.argmin(model.places[:, 0]))
    assert not vector[empty].any()
    assert np.linalg.norm(vector[1 - empty]) == pytest.approx(1)


def test_centres_are_found_in_a_few_descriptors_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etchmark.learning.vlad.DRAWN", 50)
    descriptors, _ = two_kinds(images=40)
    first, second = (Vlad(2, seed=seed).fit(descriptors).places for seed in (0, 1))
    np.testing.assert_allclose(np.sort(first[:, 0]), [0, 10], atol=0.1)
    assert (first != second).any()
