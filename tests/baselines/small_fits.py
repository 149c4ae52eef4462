"""Small samples of every kind of input, and small settings of every baseline to fit on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from etchmark.model import Samples
from etchmark.simulation import bounds

ROWS = 12
ELEMENTS = [
    *("Ni", "Co", "Cr", "Al", "Ti", "W", "Mo", "Ta", "Nb", "Hf", "Re", "V", "Fe", "Ce", "Si"),
    *("C", "B", "Zr", "Mn", "S", "P"),
]


def samples(inputs: dict[str, np.ndarray], target: np.ndarray, groups: Any = None) -> Samples:
    return Samples(np.arange(len(target)).astype(str), inputs, target, groups)


def cells(*names: str, dimensions: int, side: int = 12) -> Samples:
    """Noise of several volume fractions, and a stiffness between the bounds."""
    generator = np.random.default_rng(0)
    fraction, contrast = np.linspace(0.2, 0.8, ROWS), np.geomspace(5, 200, ROWS)
    level = fraction.reshape(-1, *[1] * dimensions)
    inputs = {
        name: (generator.random((ROWS, *[side] * dimensions)) < level).astype(np.uint8)
        for name in names
    }
    parts = [cell.reshape(ROWS, -1).mean(axis=1) for cell in inputs.values()]
    low, high = (
        bound(np.mean(parts, axis=0), contrast, ndim=dimensions)
        for bound in (bounds.reuss, bounds.voigt)
    )
    return samples({**inputs, "contrast": contrast}, np.sqrt(low * high))


def volumes() -> Samples:
    return cells("microstructure", dimensions=3)


def tensors() -> Samples:
    """Volumes with an isotropic stiffness."""
    drawn = volumes()
    fraction = drawn.inputs["microstructure"].mean(axis=(1, 2, 3))
    stiffness = bounds.stiffness("self_consistent", fraction, drawn.inputs["contrast"])
    return samples(dict(drawn.inputs), stiffness)


def images() -> Samples:
    return cells("microstructure", dimensions=2)


def faces() -> Samples:
    return cells("section_x", "section_y", "section_z", dimensions=2)


def alloys() -> Samples:
    generator = np.random.default_rng(1)
    percent = 100 * generator.dirichlet(np.ones(len(ELEMENTS)), ROWS)
    inputs = {f"{name}_at": percent[:, column] for column, name in enumerate(ELEMENTS)}
    inputs |= {"doi": np.repeat(["10.1/a", "10.1/b", "10.1/c"], ROWS // 3), "base": np.ones(ROWS)}
    inputs["encoded"] = generator.normal(size=(ROWS, 20))
    return samples(inputs, 300 + 2 * inputs["Cr_at"], inputs["doi"])


def micrographs() -> Samples:
    generator = np.random.default_rng(2)
    pictures = np.empty(ROWS, dtype=object)
    for row in range(ROWS):
        pictures[row] = generator.integers(0, 256, (40, 40 + row), dtype=np.uint8)
    return samples({"micrograph": pictures}, generator.uniform(200, 400, ROWS))


def masked() -> Samples:
    """Pictures of three grey levels, each with noise, and the class of every pixel."""
    generator = np.random.default_rng(4)
    masks = generator.integers(0, 3, (4, 8, 8)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    pictures = np.empty(4, dtype=object)
    for row, mask in enumerate(masks):
        grey = np.array([50, 120, 200])[mask] + generator.normal(0, 5, mask.shape)
        pictures[row] = grey.astype(np.uint8)
    return samples({"micrograph": pictures}, masks)


def frames() -> Samples:
    """Ten known frames and four that follow."""
    start = np.random.default_rng(3).uniform(0.1, 0.9, (4, 8, 8))
    steps = [0.5 + (start - 0.5) * 0.9**step for step in range(14)]
    stacked = np.stack(steps, 1).astype(np.float16)
    columns = {"mobility": 1.0, "gradient_energy": 1.0, "frame_spacing": 1.0, "anisotropy": 0.0}
    inputs = {name: np.full(4, value) for name, value in columns.items()}
    inputs |= {"context": stacked[:, :10], "horizon": np.full(4, 4, np.int32)}
    return samples(inputs, stacked[:, 10:])


def classes() -> Samples:
    """Micrographs of three groups: coarse and fine noise, and their two numbers."""
    generator = np.random.default_rng(4)
    coarse = generator.integers(0, 256, (ROWS, 10, 10)).repeat(3, axis=1).repeat(3, axis=2)
    fine = generator.integers(0, 256, (ROWS, 30, 30))
    which = np.arange(ROWS) % 2
    pictures = np.where(which[:, None, None], fine, coarse).astype(np.uint8)
    inputs = {
        "micrograph": pictures,
        "fraction": pictures.mean(axis=(1, 2)),
        "interface": np.abs(np.diff(pictures.astype(float))).mean(axis=(1, 2)),
    }
    target = np.array(["coarse", "fine"])[which]
    groups = np.arange(ROWS) // 4
    return Samples(np.arange(ROWS).astype(str), inputs, target, groups, ("fine", "coarse"))


def exemplars() -> Samples:
    """Two exemplars, one of them periodic, of stripes with a few pixels changed."""
    generator = np.random.default_rng(5)
    stripes = np.indices((2, 18, 18))[2] // 3 % 2
    pictures = (stripes ^ (generator.random(stripes.shape) < 0.05)).astype(np.uint8)
    further = np.repeat(pictures[:, None], 16, axis=1)
    inputs = {"exemplar": pictures, "periodic": np.array([1, 0]), "further": further}
    return samples(inputs, np.repeat(pictures[:, None], 20, axis=1))


TRAINING = {
    "schedule": {"epochs": 1, "batch": 2, "learning_rate": 0.01},
    "plan": {"unroll": 2},
}
SMALL = {"epochs": 1, "batch": 4, "widths": [4, 4], "blocks": [1, 1]}
SEGMENTER = {"rows": 4, "crop": 16, "schedule": {"epochs": 1, "batch": 2}}
ENCODER = {
    "encoder": "vit_tiny_patch16_224",
    "weights": "random",
    "size": 32,
    "options": {"embed_dim": 32, "depth": 2, "num_heads": 2},
}
CASES: dict[str, list[tuple[dict[str, Any], Callable[[], Samples]]]] = {
    "annealing": [
        ({"trials": 1, "reach": 4}, exemplars),
        ({"trials": 1, "lags": "map", "reach": 3}, exemplars),
    ],
    "bounds": [({"kind": "hashin_shtrikman_mean"}, faces)],
    "class_frequencies": [({}, classes)],
    "cnn2d": [
        ({**SMALL, "design": "sections", "pool": 3}, faces),
        ({**SMALL, "design": "images", "pool": 3}, images),
    ],
    "cnn3d": [
        ({**SMALL, "design": "periodic"}, volumes),
        ({"design": "yang", "epochs": 1, "widths": [4, 4]}, volumes),
    ],
    "cnn_frames": [({**TRAINING, "width": 4, "wide": 4, "made": 2}, frames)],
    "coarse_solver": [({"steps": 2}, frames)],
    "composition_regression": [
        ({"regressor": "ridge"}, alloys),
        ({"regressor": "gradient_boosting"}, alloys),
        ({"regressor": "gaussian_process"}, alloys),
        ({"regressor": "descriptor_line"}, alloys),
        ({"regressor": "random_intercept_mean"}, alloys),
    ],
    "convlstm": [({**TRAINING, "hidden": [4, 4]}, frames)],
    "exemplar_controls": [({"kind": "noise"}, exemplars), ({"kind": "copy"}, exemplars)],
    "fcn": [({**TRAINING, "spatial": 4, "hidden": 8, "depth": 2, "blocks": 1}, frames)],
    "gram_matching": [
        (
            {
                "encoder": "vgg19_16x",
                "weights": "random",
                "layers": ["conv1_1", "conv1_2"],
                "steps": 2,
                "two_point": 1.0,
            },
            exemplars,
        )
    ],
    "grey_levels": [({}, masked)],
    "hypercolumns": [
        (
            {
                "encoder": "vgg19_16x",
                "weights": "random",
                "layers": ["conv1_2", "conv2_2"],
                "pixels": 50,
                "schedule": {"epochs": 1, "batch": 64},
            },
            masked,
        )
    ],
    "majority_class": [({}, masked)],
    "pixel_forest": [({"trees": 3, "pixels": 100, "scales": [1.0, 2.0]}, masked)],
    "foundation_classes": [
        ({"encoder": "pixels", "pixels": 4, "standardise": True}, classes),
        ({**ENCODER, "pooling": "mean", "head": "forest", "top": 9}, classes),
        ({**ENCODER, "pooling": "vlad", "centres": 3}, classes),
    ],
    "foundation_features": [
        ({"encoder": "pixels", "pixels": 4, "head": "ridge"}, faces),
        ({"encoder": "pixels", "pixels": 4, "head": "gaussian-process"}, images),
        ({**ENCODER, "head": "kernel-ridge", "pooling": "mean", "top": 9}, faces),
        ({**ENCODER, "head": "pca-quadratic"}, images),
    ],
    "further_realisations": [({}, exemplars)],
    "fno": [({**TRAINING, "width": 4, "waves": 3, "blocks": 1}, frames)],
    "gaussian_field": [({"reach": 6}, exemplars)],
    "grain_solver": [({"cells": 1, "dt": 0.04}, frames)],
    "identified_grain_solver": [({"cells": 1}, frames)],
    "identified_solver": [({"steps": 2}, frames)],
    "persistence": [({"kind": "linear"}, frames)],
    "quilting": [({"patch": 8, "overlap": 2, "tries": 1}, exemplars)],
    "published_features": [
        ({"encoder": "encoded", "head": "linear"}, alloys),
        ({"encoder": "encoded", "head": "svr", "composition": True}, alloys),
    ],
    "same_paper_mean": [({}, alloys)],
    "stepper": [
        ({**TRAINING, "conserving": True, "width": 4, "blocks": 1}, frames),
        (
            {
                **TRAINING,
                "conserving": True,
                "width": 4,
                "blocks": 1,
                "told": {"mobility": "log", "gradient_energy": "log"},
            },
            frames,
        ),
        ({**TRAINING, "conserving": False, "width": 4, "blocks": 1, "code": 2}, frames),
    ],
    "unet_frames": [({**TRAINING, "widths": [4, 6]}, frames)],
    "tensor_bounds": [({"scheme": "voigt"}, tensors)],
    "tensor_cnn3d": [({**SMALL, "views": 2}, tensors)],
    "tensor_two_point": [({"lags": [1, 2], "degree": 2}, tensors)],
    "texture_statistics": [
        ({"statistics": "two-numbers"}, classes),
        ({"statistics": "two-point", "head": "forest"}, classes),
        ({"statistics": "texture", "top": 5}, classes),
    ],
    "training_mean": [({}, frames), ({}, images)],
    "two_point_gradient": [({"steps": 2, "reach": 4}, exemplars)],
    "two_point_statistics": [
        ({"head": "micrograph-linear", "max_lag": 3}, micrographs),
        ({"head": "gaussian-process", "max_lag": 3}, volumes),
        ({"head": "polynomial", "max_lag": 3}, images),
        ({"head": "polynomial", "max_lag": 3, "lags": [1, 2]}, faces),
    ],
    "unet": [
        ({**SEGMENTER, "widths": [4, 8]}, masked),
        ({**SEGMENTER, "design": "fcn8s", "widths": [4, 4, 8]}, masked),
        (
            {
                **SEGMENTER,
                "encoder": "vgg19_16x",
                "weights": "random",
                "layers": ["conv1_2", "conv2_2"],
                "widths": [4, 8],
            },
            masked,
        ),
    ],
    "volume_fraction": [({"log_target": True}, images)],
}
