"""What a model's process sees of the environment.

A model is somebody else's code. It is given what Python, numerical libraries and the operating
system need to work, and none of the caller's secrets; ``passed_on`` lists these variables, and
``ETCHMARK_PASS_ENV`` adds others by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from etchmark import settings
from etchmark.errors import UserError

NAMES = frozenset(
    [
        # Who and where.
        "HOME", "USER", "LOGNAME", "USERNAME", "PATH", "TMPDIR", "TEMP", "TMP", "TZ",
        # Language and terminal.
        "LANG", "LANGUAGE", "TERM", "COLUMNS", "LINES", "NO_COLOR",
        # Where libraries are found.
        "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
        "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
        # Caches and offline switches; tokens are not among them.
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
        "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE",
        "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
        "TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE", "TORCH_HOME", "TRITON_CACHE_DIR",
        "MPLBACKEND", "MPLCONFIGDIR", "JOBLIB_TEMP_FOLDER", "LOKY_MAX_CPU_COUNT",
        # Certificates, and hosts that need no proxy.
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "NO_PROXY", "no_proxy",
        # Accelerators.
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE",
        "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK",
        # Compilers that just-in-time compilation calls.
        "CC", "CXX",
        # Windows.
        "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "USERPROFILE",
        "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES",
        "PROGRAMFILES(X86)", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
    ]
)  # fmt: skip
"""Variables that a model's process sees as the caller has set them."""
PREFIXES = (
    "LC_", "PYTHON", "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "MKL_", "BLIS_", "VECLIB_",
    "NUMEXPR_", "NUMBA_", "CUDA_", "CUDNN_", "CUBLAS_", "NCCL_", "TORCHINDUCTOR_",
    "PYTORCH_", "XLA_", "JAX_", "TF_",
)  # fmt: skip
"""Families of variables that are passed on as well: Python, locale, threads, accelerators."""
SECRET = re.compile("TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|(^|_)KEYS?(_|$)|KEYRING", re.I)
"""Names that are passed on only where ``ETCHMARK_PASS_ENV`` says so."""
OWN = frozenset(["ETCHMARK_OFFLINE"])
WITH_FEATURES = frozenset(["ETCHMARK_WEIGHTS"])
"""Settings of etchmark itself: always, and for models that take weights."""
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
"""No thread spins while it waits: that counts as processor time, most on a busy machine.

OpenBLAS cannot be told to sleep in the thread that waits for the others, so it gets one thread; its
sums are then the same on machines with few and with many cores.
"""
ENDPOINT = "HF_ENDPOINT"
"""Passed on unless it holds a user name or password."""


def passed_on(environment: Mapping[str, str], *, features: bool = False) -> dict[str, str]:
    """The part of an environment that a model's process sees.

    These are the variables in ``NAMES``, those that begin with one of ``PREFIXES`` and do not look
    like a secret, and those that ``ETCHMARK_PASS_ENV`` names. Proxies are left out, since their
    addresses may hold passwords.

    Args:
        environment: of the calling process.
        features: the model takes weights, and is told where they are.

    Raises:
        UserError: ``ETCHMARK_PASS_ENV`` names a setting of etchmark, or what is not a name.
    """
    own = OWN | (WITH_FEATURES if features else frozenset())
    asked = settings.pass_env()
    for name in asked:
        if name.upper().startswith("ETCHMARK_"):
            raise UserError(
                f"ETCHMARK_PASS_ENV: {name} is a setting of etchmark, which no model sees; leave it"
                " out"
            )
    # The model's process has another working directory.
    return {
        name: value
        for name, value in {**environment, **settings.elsewhere()}.items()
        if name in own or name in asked or _harmless(name, value)
    }


def _harmless(name: str, value: str) -> bool:
    # Windows does not tell upper from lower case.
    known = name.upper() if os.name == "nt" else name
    if known == ENDPOINT:
        return "@" not in value
    return known in NAMES or (known.startswith(PREFIXES) and not SECRET.search(known))


def environment_of_model(*, features: bool) -> dict[str, str]:
    """The environment of a model's process; what the caller says of threads holds.

    Args:
        features: the model takes weights: it is told where they and the feature store are.
    """
    own = {settings.IN_MODEL: "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    if features:
        own["ETCHMARK_FEATURES"] = str(settings.features())
    return {**THREADS, **passed_on(os.environ, features=features), **own}
