"""What figures depend on beside data and options: versions, the device and the threads."""

import platform
from importlib.metadata import version
from typing import Any

from tfcamp.training.pace import count_cores


def describe_environment() -> dict[str, Any]:
    """Returns the versions, the device and the number of threads that figures depend on."""
    import keras
    import numpy as np
    import tensorflow as tf

    devices = tf.config.list_logical_devices()
    accelerators = [device.name for device in devices if device.device_type != "CPU"]
    return {
        "python": platform.python_version(),
        "tfcamp": version("tfcamp"),
        # tensorflow-tpu is another package of the same module.
        **{package.__name__: package.__version__ for package in (tf, keras, np)},
        "device": ", ".join(accelerators) or f"CPU ({platform.processor() or platform.machine()})",
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or count_cores(),
    }
