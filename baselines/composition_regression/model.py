"""Hardness from composition: standard regressors, and attempts to carry over to new papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from etchmark import SklearnModel
from etchmark.learning.heads import GroupedRidge, inner_folds
from etchmark.model import Inputs, Samples, stack
from etchmark.saving import Savable, keeps_arguments, rebuild

# Standard atomic weights 2021, Prohaska et al., Pure Appl. Chem. 94 (2022) 573,
# DOI 10.1515/pac-2019-0603 (abridged).
ATOMIC_WEIGHT = {
    "Ni": 58.693, "Co": 58.933, "Cr": 51.996, "Al": 26.982, "Ti": 47.867, "W": 183.84,
    "Mo": 95.95, "Ta": 180.95, "Nb": 92.906, "Hf": 178.49, "Re": 186.21, "V": 50.942,
    "Fe": 55.845, "Ce": 140.12, "Si": 28.085, "C": 12.011, "B": 10.81, "Zr": 91.224,
    "Mn": 54.938, "S": 32.06, "P": 30.974,
}  # fmt: skip
ELEMENTS = list(ATOMIC_WEIGHT)
# Number of valence electrons as used for alloys: the group of the periodic table, with Al 3, C and
# Si 4, B 3, P 5, S 6 (main group) and Ce 4.
VALENCE = {
    "Ni": 10, "Co": 9, "Cr": 6, "Al": 3, "Ti": 4, "W": 6, "Mo": 6, "Ta": 5, "Nb": 5, "Hf": 4,
    "Re": 7, "V": 5, "Fe": 8, "Ce": 4, "Si": 4, "C": 4, "B": 3, "Zr": 4, "Mn": 7, "S": 6, "P": 5,
}  # fmt: skip
SHRINKAGE = np.linspace(0.0, 1.0, 11)


def composition(inputs: Inputs, unit: str) -> np.ndarray:
    """Percent of the 21 elements, shape (samples, 21), under an assumption about the unit.

    ``guess``: atomic percent by the dataset's documented guess per paper; ``listed``: the numbers
    as printed; ``atomic`` and ``weight``: all papers taken as at% or as wt%, to atomic percent.
    """
    if unit == "guess":
        return stack(inputs, [f"{name}_at" for name in ELEMENTS])
    listed = stack(inputs, ELEMENTS)
    if unit == "listed":
        return listed
    moles = listed / np.array(list(ATOMIC_WEIGHT.values())) if unit == "weight" else listed
    return 100.0 * moles / moles.sum(axis=1, keepdims=True)


class Regression(Savable):
    """A regressor on 21 percentages."""

    saved = ("model",)

    def __init__(self, make: Callable[[], object], unit: str) -> None:
        self.model = SklearnModel(make(), groups=isinstance(make(), (GroupedRidge, Boosting)))
        self.unit = unit

    def fit(self, train: Samples, validation: Samples | None = None) -> Regression:
        table = {"composition": composition(train.inputs, self.unit)}
        self.model.fit(Samples(train.ids, table, train.target, train.groups))
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return self.model.predict({"composition": composition(inputs, self.unit)})


class Boosting(Savable):
    """Gradient-boosted trees; the number of trees is chosen on inner folds."""

    saved = ("model",)

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _model(self, trees: int) -> GradientBoostingRegressor:
        return GradientBoostingRegressor(
            n_estimators=trees, learning_rate=0.05, max_depth=3, min_samples_leaf=3,
            subsample=0.8, random_state=self.seed,
        )  # fmt: skip

    def fit(self, features: np.ndarray, target: np.ndarray, groups: np.ndarray | None) -> Boosting:
        errors = np.zeros(200)
        for fit, held in inner_folds(len(features), groups, self.seed):
            stages = self._model(200).fit(features[fit], target[fit]).staged_predict(features[held])
            errors += [np.abs(stage - target[held]).sum() for stage in stages]
        self.model = self._model(int(np.argmin(errors)) + 1).fit(features, target)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict(features)


class Process(Savable):
    """Gaussian process on standardised percentages, hyper-parameters by marginal likelihood."""

    saved = ("mean", "spread", "process")

    def __init__(self, seed: int) -> None:
        kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(5.0, (0.5, 100.0)) + WhiteKernel(
            0.5, (1e-3, 10.0)
        )
        self.process = GaussianProcessRegressor(
            kernel, normalize_y=True, n_restarts_optimizer=2, random_state=seed
        )

    def fit(self, features: np.ndarray, target: np.ndarray) -> Process:
        self.mean, spread = features.mean(axis=0), features.std(axis=0)
        self.spread = np.where(spread > 0, spread, 1.0)
        self.process.fit((features - self.mean) / self.spread, target)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.process.predict((features - self.mean) / self.spread))


def random_intercept_mean(target: np.ndarray, groups: np.ndarray) -> float:
    """Mean of a model with a random intercept per paper, its variance share by REML on a grid.

    Lies between the mean of rows and the mean of paper means. Source: Patterson & Thompson,
    Biometrika 58 (1971) 545, DOI 10.1093/biomet/58.3.545.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    count = np.bincount(codes)
    means = np.bincount(codes, target) / count
    within = float(((target - means[codes]) ** 2).sum())
    best, best_mean = -np.inf, float(target.mean())
    for share in np.linspace(0.0, 0.98, 99):
        ratio = share / (1.0 - share)
        weight = count / (1.0 + count * ratio)
        mean = float((weight * means).sum() / weight.sum())
        residual = within + float((weight * (means - mean) ** 2).sum())
        likelihood = -0.5 * (
            (len(target) - 1) * np.log(residual)
            + np.log1p(count * ratio).sum()
            + np.log(weight.sum())
        )
        if likelihood > best:
            best, best_mean = likelihood, mean
    return best_mean


def descriptors(inputs: Inputs) -> dict[str, np.ndarray]:
    """Single-number descriptors of an alloy, from atomic fractions under the guessed units."""
    fraction = dict(zip(ELEMENTS, composition(inputs, "guess").T / 100.0, strict=True))
    solutes = [name for name in ELEMENTS if name not in {"Ni", "Co"}]

    def total(*names: str) -> np.ndarray:
        return sum((fraction[name] for name in names), np.zeros(len(fraction["Ni"])))

    return {
        "solute_root_sum": sum((np.sqrt(fraction[name]) for name in solutes), np.zeros(1)),
        "element_count": sum(
            ((fraction[name] > 0).astype(float) for name in ELEMENTS), np.zeros(1)
        ),
        "gamma_prime_formers": total("Al", "Ti", "Ta", "Nb", "V", "Hf"),
        "refractory": total("W", "Mo", "Re", "Ta", "Nb"),
        "interstitial": total("C", "B"),
        "chromium": fraction["Cr"],
        "aluminium": fraction["Al"],
        "cobalt": fraction["Co"],
        "valence_electrons": sum(
            (fraction[name] * VALENCE[name] for name in ELEMENTS), np.zeros(1)
        ),
        "mixing_entropy": -sum(
            (x * np.log(np.where(x > 0, x, 1.0)) for x in fraction.values()), np.zeros(1)
        ),
    }


Line = Sequence[float]
"""A point of a straight line, x then y, and its slope."""


def on_line(line: Line, x: np.ndarray) -> np.ndarray:
    x0, y0, slope = line
    return y0 + slope * (x - x0)


class DescriptorLine(Savable):
    """A straight line on one descriptor, drawn towards the random-intercept mean.

    Rows weigh one over the root of their paper's number of rows. How far the line is followed
    (0: not at all) and, if several descriptors are offered, which one, is chosen on inner folds.
    """

    saved = ("name", "follow", "mean", "line")

    def __init__(self, names: list[str] | None, seed: int) -> None:
        self.names, self.seed = names, seed

    def _line(self, x: np.ndarray, target: np.ndarray, groups: np.ndarray) -> Line:
        codes = np.unique(groups, return_inverse=True)[1]
        weight = 1.0 / np.sqrt(np.bincount(codes))[codes]
        x0, y0 = np.average(x, weights=weight), np.average(target, weights=weight)
        spread = float((weight * (x - x0) ** 2).sum())
        slope = float((weight * (x - x0) * (target - y0)).sum()) / spread if spread > 0 else 0.0
        return x0, y0, slope

    def fit(self, train: Samples, validation: Samples | None = None) -> DescriptorLine:
        offered = descriptors(train.inputs)
        target = train.target.astype(np.float64)
        # Without papers every sample is a group of its own.
        groups = train.groups if train.groups is not None else np.arange(len(target)).astype(str)
        names = list(offered) if self.names is None else self.names
        errors = np.zeros((len(names), len(SHRINKAGE)))
        for fit, held in inner_folds(len(target), train.groups, self.seed):
            mean = random_intercept_mean(target[fit], groups[fit])
            for index, name in enumerate(names):
                x = offered[name]
                line = on_line(self._line(x[fit], target[fit], groups[fit]), x[held])
                steps = mean + SHRINKAGE[:, None] * (line - mean)
                errors[index] += np.abs(steps - target[held]).sum(axis=1)
        index, step = np.unravel_index(int(np.argmin(errors)), errors.shape)
        self.name, self.follow = names[index], SHRINKAGE[step]
        self.mean = random_intercept_mean(target, groups)
        self.line = self._line(offered[self.name], target, groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        line = on_line(self.line, descriptors(inputs)[self.name])
        return self.mean + self.follow * (line - self.mean)


class RandomInterceptMean(Savable):
    saved = ("mean",)

    def fit(self, train: Samples, validation: Samples | None = None) -> RandomInterceptMean:
        groups = train.groups if train.groups is not None else np.arange(len(train)).astype(str)
        self.mean = random_intercept_mean(train.target.astype(np.float64), groups)
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        return np.full(len(inputs["base"]), self.mean)

    def parameter_count(self) -> int:
        return 1


@keeps_arguments
def build(
    seed: int,
    device: str,
    regressor: str,
    unit: str = "guess",
    standardise: bool = False,
    names: list[str] | None = None,
) -> Regression | DescriptorLine | RandomInterceptMean:
    if regressor == "random_intercept_mean":
        return RandomInterceptMean()
    if regressor == "descriptor_line":
        return DescriptorLine(names, seed)
    makers: dict[str, Callable[[], object]] = {
        "ridge": lambda: GroupedRidge(standardise=standardise, seed=seed),
        "gradient_boosting": lambda: Boosting(seed),
        "gaussian_process": lambda: Process(seed),
    }
    return Regression(makers[regressor], unit)


def load(folder: Path, device: str) -> Regression | DescriptorLine | RandomInterceptMean:
    return rebuild(build, folder, device)
