"""Meets TensorFlow in a process of its own, so that nothing it does can silence the doctor.

    python -P tfcamp/doctor/probe.py FACTS SECONDS SCRIPT

It imports what SCRIPT imports, in the same order, looks at the devices, and trains for a moment.
What it finds out it writes to the file FACTS, a line of JSON at a time: if TensorFlow crashes or
hangs, what was written says how far it came.
"""

import importlib
import json
import runpy
import sys
import tempfile
from typing import Any, TextIO


def main(facts: str, seconds: str, script: str) -> None:
    """Looks at TensorFlow.

    Args:
      facts: the file that is written.
      seconds: how long the speed tests may take; 0 leaves them out.
      script: the training script, or nothing where there is none.
    """
    with open(facts, "w", encoding="utf-8") as file:
        _tell(file, stage="while it was imported")
        try:
            if script:
                runpy.run_path(script, run_name="probe")  # its imports, but not its main
            else:
                for name in ("tfcamp", "keras", "tensorflow"):  # tfcamp chooses Keras's backend
                    importlib.import_module(name)
        except Exception as error:  # whatever it is, training would meet it
            _tell(file, stage=None, import_error=_one_line(error))
            return
        try:
            _tell(file, stage="while it looked for devices", **_versions())
            strategy, chosen = _choose_strategy()
            _tell(file, **chosen)
            _tell(file, **_devices())  # before they are set up, which may fail
            _tell(file, **_environment(), font=missing_font())
            if strategy is not None and float(seconds) > 0:
                _try_out(file, float(seconds), strategy)
            _tell(file, stage=None)
        except Exception as error:
            _tell(file, failure=_one_line(error))


def _tell(file: TextIO, **facts: Any) -> None:
    file.write(json.dumps(facts) + "\n")
    file.flush()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    # A mistake of the user's explains itself.
    return text if type(error).__name__ == "UserError" else f"{type(error).__name__}: {text}"


def _versions() -> dict[str, Any]:
    import keras
    import tensorflow as tf

    build = {key: str(value) for key, value in tf.sysconfig.get_build_info().items()}
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cuda_build": tf.test.is_built_with_cuda(),
        "cuda": build.get("cuda_version", ""),
        "cudnn": build.get("cudnn_version", ""),
    }


def _choose_strategy() -> tuple[Any, dict[str, Any]]:
    """Chooses as ``--strategy auto`` does, but waits for no other workers."""
    from tfcamp.errors import UserError
    from tfcamp.training.cluster import find_cluster
    from tfcamp.training.strategy import choose_strategy

    try:
        workers = len(find_cluster() or [None])
        strategy = choose_strategy("auto" if workers == 1 else "one")
    except UserError as error:
        return None, {"strategy_error": str(error)}
    return strategy, {
        "strategy": type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
        "workers": workers,
    }


def _devices() -> dict[str, Any]:
    import tensorflow as tf

    from tfcamp.doctor.gpu import ask_driver

    gpus = []
    for gpu in tf.config.list_physical_devices("GPU"):
        model = tf.config.experimental.get_device_details(gpu).get("device_name", "")
        gpus.append(f"{_short_name(gpu)} {model}")
    devices = [_short_name(device) for device in tf.config.list_physical_devices()]
    return {"devices": devices, "gpus": gpus, "driver": vars(ask_driver())}


def _short_name(device: Any) -> str:
    return device.name.removeprefix("/physical_device:")


def _environment() -> dict[str, Any]:
    from tfcamp.environment import describe_environment

    return {"environment": describe_environment()}


def missing_font() -> str | None:
    """Returns what a figure with Chinese text says about its fonts."""
    from matplotlib.figure import Figure

    from tfcamp.figures import save_figure

    figure = Figure()
    figure.text(0.5, 0.5, "类别")
    with tempfile.TemporaryDirectory() as folder:
        return save_figure(figure, folder, "figure").note


def _try_out(file: TextIO, seconds: float, strategy: Any) -> None:
    from tfcamp.doctor.trial import best_device, measure

    _tell(file, stage="while it trained for a moment", device=best_device())
    measure(seconds, strategy, lambda name, speed: _tell(file, **{name: speed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
