"""Fixtures that every test may use."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tfcamp  # noqa: F401  sets the Keras backend and log level before TensorFlow is imported

import keras  # isort: skip
import tensorflow as tf  # isort: skip

# Two replicas on one CPU. They must be there before TensorFlow looks at its devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes, to try or to make, depends on what else the machine does. A change is
# judged by the same examples each time; TFCAMP_NEW_EXAMPLES=1 looks for others.
settings.register_profile(
    "tfcamp",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="TFCAMP_NEW_EXAMPLES" not in os.environ,
)
settings.load_profile("tfcamp")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Lets each test, and each fixture that it is the first to need, draw the same every time."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """The one strategy of the test run: a second one in a process may crash."""
    # Virtual devices share one memory, and collectives would want gradients of one shape.
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real corpora; a test that needs it is skipped where it is missing."""
    folder = Path(os.environ.get("TFCAMP_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip("real data not found: set TFCAMP_TEST_DATA to its folder")
    return folder
