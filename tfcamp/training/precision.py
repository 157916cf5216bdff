"""The number format that models compute in; their weights stay float32."""

from pathlib import Path

import keras
import tensorflow as tf

_CPU_INFO = Path("/proc/cpuinfo")
# Matrix products of bfloat16 numbers, as x86 names them.
_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}


def set_precision(asked: str) -> str:
    """Sets the format for all models that this process builds from now on.

    Args:
      asked: "float32", "bfloat16", "float16", or "auto" for :func:`fastest_precision`.

    Returns:
      The format.
    """
    precision = fastest_precision() if asked == "auto" else asked
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    keras.config.set_dtype_policy(policy)
    return precision


def fastest_precision() -> str:
    """Returns "bfloat16" where the hardware computes in it, else "float32".

    That is a TPU, and a CPU with such instructions if there is no GPU. On a GPU products of float32
    numbers are rounded on the way already (TF32), and small models gain little.
    """
    if tf.config.list_logical_devices("TPU"):
        return "bfloat16"
    if tf.config.list_physical_devices("GPU"):
        return "float32"
    return "bfloat16" if _CPU_FLAGS & cpu_flags() else "float32"


def cpu_flags() -> set[str]:
    """Returns what the CPU can do, in Linux's words; nothing elsewhere."""
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
