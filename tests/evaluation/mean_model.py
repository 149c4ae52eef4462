"""A model of the toy that predicts the mean and does something while it fits."""

from __future__ import annotations

_CODE = """
import json, os, signal, sys, time
import numpy as np
class Mean:
    def fit(self, train, validation):
        self.mean = float(train.target.mean())
        {fit}
    def predict(self, inputs):
        return np.full(len(inputs["a"]), self.mean)
def build(seed, device):
    return Mean()
"""


def mean_model(fit: str = "pass") -> str:
    """The model's code; ``fit`` is what it runs in its method of that name."""
    return _CODE.format(fit=fit)
