"""Transforms by matrices and by FFT: against numpy, each other and the scheme's own formula."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")

from etchmark.simulation.spectral import (  # noqa: E402
    VOIGT,
    FourierTransform,
    MatrixTransform,
    Transform,
    largest_prime,
    transform_for,
)

CPU = torch.device("cpu")
KINDS = [FourierTransform, MatrixTransform]
SIZES = [2, 3, 8, 9, 11, 12, 13, 22]
"""Odd, even and prime."""
EXACT = {torch.float32: 2e-5, torch.float64: 1e-13}


def field(n: int, ndim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """A random symmetric tensor field."""
    generator = np.random.default_rng([n, ndim, seed])
    return torch.from_numpy(generator.standard_normal((len(VOIGT[ndim]), *(n,) * ndim))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("n", SIZES)
def test_transforms_come_back_and_keep_inner_products(
    n: int, ndim: int, kind: type, dtype: torch.dtype
) -> None:
    transform: Transform = kind(n, ndim, dtype, CPU)
    first, second = field(n, ndim, dtype), field(n, ndim, dtype, seed=1)
    kept = first.clone()
    spectrum = transform.forward(first)
    assert spectrum.shape == (len(first), *transform.spectrum_shape)
    assert spectrum.dtype == dtype
    assert torch.equal(first, kept)
    product = transform.dot(spectrum, transform.forward(second))
    scale = first.norm().double() * second.norm().double()
    assert product == pytest.approx(float((first * second).sum()), abs=EXACT[dtype] * float(scale))
    back = transform.inverse(transform.forward(first))
    assert back.shape == first.shape
    assert float((back - first).abs().max()) < EXACT[dtype]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("n", SIZES)
def test_the_fourier_transform_is_that_of_numpy(n: int, ndim: int) -> None:
    values = field(n, ndim)
    found = FourierTransform(n, ndim, torch.float64, CPU).forward(values)
    axes = tuple(range(1, ndim + 1))
    expected = np.fft.rfftn(values.numpy(), axes=axes, norm="ortho")
    np.testing.assert_allclose(found[..., 0::2].numpy(), expected.real, atol=1e-12)
    np.testing.assert_allclose(found[..., 1::2].numpy(), expected.imag, atol=1e-12)


def derivatives(transform: Transform, values: torch.Tensor) -> np.ndarray:
    """Strain of the displacement that is the force of a stress, with unit wave vectors."""
    waves, ndim = transform.waves(), values.ndim - 1
    spectrum = transform.forward(values)
    force = torch.zeros_like(waves)
    for row, (i, j) in enumerate(VOIGT[ndim]):
        force[i] += waves[j] * spectrum[row]
        if i != j:
            force[j] += waves[i] * spectrum[row]
    strain = torch.empty_like(spectrum)
    for row, (i, j) in enumerate(VOIGT[ndim]):
        strain[row] = waves[i] * force[j] + (waves[j] * force[i] if i != j else 0)
    return transform.inverse(strain).numpy()


def expected_derivatives(values: np.ndarray) -> np.ndarray:
    """The same with complex wave vectors (Willot 2015, DOI 10.1016/j.crme.2014.12.005)."""
    n, ndim = values.shape[1], values.ndim - 1
    steps = np.exp(2j * np.pi * np.fft.fftfreq(n)) - 1
    means = np.exp(2j * np.pi * np.fft.fftfreq(n)) + 1
    if n % 2 == 0:
        means[n // 2] = 0
    waves = np.ones((ndim, *(n,) * ndim), complex)
    for i in range(ndim):
        for axis in range(ndim):
            shape = [1] * ndim
            shape[axis] = n
            waves[i] *= (steps if axis == i else means).reshape(shape)
    length = np.sqrt((np.abs(waves) ** 2).sum(axis=0))
    waves = np.where(length > 1e-12, waves / np.where(length > 1e-12, length, 1), 0)
    spectrum = np.fft.fftn(values, axes=tuple(range(1, ndim + 1)))
    force = np.zeros_like(waves)
    for row, (i, j) in enumerate(VOIGT[ndim]):
        force[i] += waves[j].conj() * spectrum[row]
        if i != j:
            force[j] += waves[i].conj() * spectrum[row]
    strain = np.empty_like(spectrum)
    for row, (i, j) in enumerate(VOIGT[ndim]):
        strain[row] = waves[i] * force[j] + (waves[j] * force[i] if i != j else 0)
    found = np.fft.ifftn(strain, axes=tuple(range(1, ndim + 1)))
    assert np.abs(found.imag).max() < 1e-12
    return found.real


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("n", SIZES)
def test_derivatives_are_those_of_the_rotated_scheme(
    n: int, ndim: int, kind: type, dtype: torch.dtype
) -> None:
    values = field(n, ndim, dtype)
    found = derivatives(kind(n, ndim, dtype, CPU), values)
    expected = expected_derivatives(values.double().numpy())
    assert np.abs(found - expected).max() < 10 * EXACT[dtype]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("n", [7, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_wave_vectors_vanish_with_two_nyquist_components_only(
    kind: type, n: int, ndim: int
) -> None:
    transform: Transform = kind(n, ndim, torch.float64, CPU)
    if kind is MatrixTransform:
        axes = [(np.arange(n) + 1) // 2] * ndim
    else:
        index = np.abs(np.fft.fftfreq(n, 1 / n))
        axes = [index] * (ndim - 1) + [np.repeat(index[: n // 2 + 1], 2)]
    place = np.meshgrid(*axes, indexing="ij")
    nyquist = sum((2 * axis == n).astype(int) for axis in place)
    mean = np.all([axis == 0 for axis in place], axis=0)
    gone = (transform.waves() == 0).all(dim=0).numpy()
    assert np.array_equal(gone, (nyquist >= 2) | mean)
    length = torch.linalg.vector_norm(transform.waves(), dim=0).numpy()
    np.testing.assert_allclose(length[~gone], 1.0, rtol=1e-12)


@pytest.mark.parametrize(("n", "expected"), [(2, 2), (8, 2), (51, 17), (49, 7), (97, 97), (96, 3)])
def test_largest_prime(n: int, expected: int) -> None:
    assert largest_prime(n) == expected


@pytest.mark.parametrize(("n", "ndim"), [(51, 3), (25, 3), (64, 3), (96, 3), (128, 2), (512, 2)])
def test_the_way_does_not_depend_on_the_precision(n: int, ndim: int) -> None:
    """Fields of single precision are summed by the solver of double precision."""
    kinds = {type(transform_for(n, ndim, dtype, CPU)) for dtype in EXACT}
    assert len(kinds) == 1


def test_sizes_with_large_primes_go_by_matrices_unless_huge() -> None:
    assert isinstance(transform_for(51, 3, torch.float32, CPU), MatrixTransform)
    assert isinstance(transform_for(97, 3, torch.float32, CPU), MatrixTransform)
    assert isinstance(transform_for(96, 3, torch.float32, CPU), FourierTransform)
    assert isinstance(transform_for(509, 2, torch.float32, CPU), FourierTransform)
