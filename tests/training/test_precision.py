"""The number format: what is asked for, and what the hardware is good at."""

import keras
import pytest
import tensorflow as tf

from tfcamp.training import precision
from tfcamp.training.precision import fastest_precision, set_precision


@pytest.fixture(autouse=True)
def policy_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    """Pretends that the CPU has flags, and that there is no accelerator."""

    def pretend(flags: str) -> None:
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
        monkeypatch.setattr(precision, "_CPU_INFO", path)
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    return pretend


@pytest.mark.parametrize("asked", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_computes_and_weights_stay_float32(asked: str) -> None:
    assert set_precision(asked) == asked
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert (layer.compute_dtype, layer.variable_dtype) == (asked, "float32")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512_bf16", "bfloat16"), ("amx_bf16 amx_tile", "bfloat16"), ("avx2 bf16x", "float32")],
)
def test_auto_looks_at_the_cpu(cpu, flags: str, expected: str) -> None:
    cpu(flags)
    assert fastest_precision() == set_precision("auto") == expected


def test_a_gpu_computes_in_float32(cpu, monkeypatch) -> None:
    cpu("avx512_bf16")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert fastest_precision() == "float32"


def test_a_system_that_does_not_tell(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(precision, "_CPU_INFO", tmp_path / "nothing")
    assert fastest_precision() == "float32"
