"""Fourier transforms of strain and stress fields on small periodic cells.

Two implementations of one interface. Library FFTs are slow for sizes with a large prime factor
(51 = 3 x 17) and no faster than matrix products for small sizes; those are transformed by products
with real orthogonal matrices of cosines and sines, one per axis. Whatever multiplies a spectrum is
real in both, so spectra are real arrays: coefficients of cosines and sines, or interleaved real
and imaginary parts of a half spectrum.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

VOIGT = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}
"""Order of strain and stress components: Voigt's, in 2D (plane strain) 11, 22, 12."""

MATRIX_ALWAYS = {2: 128, 3: 60}
"""Cells per side up to which matrices are no slower than FFTs, by number of dimensions."""
MATRIX_LIMIT = 160
"""Cells per side up to which matrices are taken if a prime factor is above 7."""


class Transform(Protocol):
    """Orthonormal transform of symmetric tensor fields, and its inverse.

    A tensor field has shape (components, n, ..., n), its spectrum (components, *spectrum_shape);
    that of a displacement has ``ndim`` components.
    """

    spectrum_shape: tuple[int, ...]

    def forward(self, field: Tensor) -> Tensor:
        """Spectrum of a tensor field."""
        ...

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Tensor field of a spectrum; the spectrum may be overwritten."""
        ...

    def waves(self) -> Tensor:
        """Unit wave vectors of the rotated scheme, shape (ndim, *spectrum_shape).

        The strain of a displacement spectrum v has the spectrum n_i v_j + n_j v_i (n_i v_i on the
        diagonal); they are zero where the wave vector of the scheme vanishes.
        """
        ...

    def dot(self, first: Tensor, second: Tensor) -> float:
        """Inner product of two spectra: that of the fields."""
        ...


def largest_prime(n: int) -> int:
    """Largest prime factor of ``n`` >= 2."""
    largest, rest = 1, n
    for factor in range(2, math.isqrt(n) + 1):
        while rest % factor == 0:
            largest, rest = factor, rest // factor
    return max(largest, rest)


def transform_for(n: int, ndim: int, dtype: torch.dtype, device: torch.device) -> Transform:
    """The faster transform for cells with ``n`` voxels per side."""
    awkward = n <= MATRIX_LIMIT and largest_prime(n) > 7
    if device.type == "cpu" and (n <= MATRIX_ALWAYS[ndim] or awkward):
        return MatrixTransform(n, ndim, dtype, device)
    return FourierTransform(n, ndim, dtype, device)


def _unit(sines: Tensor, cosines: Tensor, last: tuple[Tensor, Tensor], ndim: int) -> Tensor:
    """Unit vectors of sin(k_i / 2) prod cos(k_j / 2) in double precision."""
    waves = []
    for axis in range(ndim):
        wave = torch.ones((), dtype=torch.float64)
        for other in range(ndim):
            sine, cosine = last if other == ndim - 1 else (sines, cosines)
            wave = wave[..., None] * (sine if other == axis else cosine)
        waves.append(wave)
    stacked = torch.stack(waves)
    length = torch.linalg.vector_norm(stacked, dim=0)
    return torch.where(length > 0, stacked / torch.where(length > 0, length, 1.0), 0.0)


def _half_angles(index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    angle = (math.pi / n) * index.double()
    cosine = torch.cos(angle)
    # Exactly zero, not rounded: two or more components at the highest frequency make the wave
    # vector vanish.
    cosine[2 * index.abs() == n] = 0.0
    return torch.sin(angle), cosine


class FourierTransform:
    """By the library's FFT: real and imaginary parts of the half spectrum, interleaved."""

    def __init__(self, n: int, ndim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.n, self.ndim, self.dtype, self.device = n, ndim, dtype, device
        self.half = n // 2 + 1
        self.spectrum_shape = (*(n,) * (ndim - 1), 2 * self.half)
        # Every wave of the half spectrum stands for itself and its conjugate, but for the edges.
        weight = torch.full((self.half,), 2.0, dtype=dtype)
        weight[0] = 1.0
        if n % 2 == 0:
            weight[-1] = 1.0
        self.weight = weight.repeat_interleave(2).to(device)

    def forward(self, field: Tensor) -> Tensor:
        axes = tuple(range(1, self.ndim + 1))
        return torch.view_as_real(torch.fft.rfftn(field, dim=axes, norm="ortho")).flatten(-2)

    def inverse(self, spectrum: Tensor) -> Tensor:
        part = torch.view_as_complex(spectrum.view(*spectrum.shape[:-1], self.half, 2))
        axes = tuple(range(1, self.ndim + 1))
        return torch.fft.irfftn(part, s=(self.n,) * self.ndim, dim=axes, norm="ortho")

    def waves(self) -> Tensor:
        # The factor i of a derivative goes with the displacement, so the waves stay real.
        index = torch.fft.fftfreq(self.n, d=1 / self.n, dtype=torch.float64).round().long()
        last = _half_angles(index[: self.half].abs(), self.n)
        unit = _unit(*_half_angles(index, self.n), last, self.ndim)
        return unit.repeat_interleave(2, dim=-1).to(self.device, self.dtype)

    def dot(self, first: Tensor, second: Tensor) -> float:
        return float(((first * second).view(-1, len(self.weight)) @ self.weight).sum())


class MatrixTransform:
    """By matrices of cosines and sines, whose derivatives are sines and cosines.

    Component i of a displacement is expanded, along axis i, in the derivatives of the functions
    that serve along the other axes, and a shear ij along both. Derivatives then multiply
    coefficient by coefficient: D_j takes u_i and D_i takes u_j to the same functions.
    """

    def __init__(self, n: int, ndim: int, dtype: torch.dtype, device: torch.device) -> None:
        self.n, self.ndim, self.dtype, self.device = n, ndim, dtype, device
        self.spectrum_shape = (n,) * ndim
        plain, swapped = (matrix.to(device, dtype) for matrix in self._functions())
        pairs = VOIGT[ndim]
        self.axes = []
        for axis in range(ndim):
            matrices = [swapped if i != j and axis in (i, j) else plain for i, j in pairs]
            if axis == 0:
                # D takes u_i back to plain functions with the opposite sign.
                matrices = [
                    -matrix if i != j else matrix
                    for matrix, (i, j) in zip(matrices, pairs, strict=True)
                ]
            self.axes.append(torch.stack(matrices))
        self.turned = [matrices.transpose(1, 2).contiguous() for matrices in self.axes]
        shape = (len(pairs), *self.spectrum_shape)
        self.spare = torch.empty(shape, dtype=dtype, device=device)

    def _index(self) -> Tensor:
        """Frequency of each function: 0, then each with its cosine and its sine."""
        return (torch.arange(self.n) + 1) // 2

    def _functions(self) -> tuple[Tensor, Tensor]:
        """Orthonormal functions and their derivatives (normalised), one per row."""
        index, cells = self._index(), torch.arange(self.n)
        # Integer products modulo n keep the angles exact.
        angle = (2 * math.pi / self.n) * ((index[:, None] * cells) % self.n).double()
        sine = (torch.arange(self.n) % 2 == 0)[:, None] & (index > 0)[:, None]
        plain = torch.where(sine, torch.sin(angle), torch.cos(angle))
        swapped = torch.where(sine, torch.cos(angle), -torch.sin(angle))
        edge = (index == 0) | (2 * index == self.n)
        swapped[edge] = plain[edge]
        scale = torch.sqrt((2.0 - edge.double()) / self.n)[:, None]
        return plain * scale, swapped * scale

    def _apply(self, source: Tensor, matrices: list[Tensor], turned: list[Tensor]) -> Tensor:
        """Multiply along every axis; overwrites the source's array or the spare one."""
        count, n = source.shape[0], self.n
        result = torch.empty_like(source)
        torch.bmm(source.view(count, -1, n), turned[-1], out=result.view(count, -1, n))
        if self.ndim == 3:
            for part, matrix, out in zip(result, matrices[1], self.spare, strict=True):
                torch.matmul(matrix, part, out=out)
            torch.bmm(matrices[0], self.spare.view(count, n, -1), out=result.view(count, n, -1))
            return result
        torch.bmm(matrices[0], result, out=self.spare)
        return result.copy_(self.spare)

    def forward(self, field: Tensor) -> Tensor:
        return self._apply(field, self.axes, self.turned)

    def inverse(self, spectrum: Tensor) -> Tensor:
        return self._apply(spectrum, self.turned, self.axes)

    def waves(self) -> Tensor:
        angles = _half_angles(self._index(), self.n)
        return _unit(*angles, angles, self.ndim).to(self.device, self.dtype)

    def dot(self, first: Tensor, second: Tensor) -> float:
        return float(torch.dot(first.view(-1), second.view(-1)))
