"""A run folder: what was asked for, what happened, what came out of it.

RUN/config.json     the options, and the versions they ran with
RUN/log.txt         what was printed
RUN/data/           what was fitted on the training split, and the ids that are read
RUN/history.jsonl   the measurements of each epoch
RUN/tensorboard/    the same, for "tensorboard --logdir RUN"
RUN/checkpoints/    what the run needs to go on
RUN/saved_model/    the exported model, where --export-dir names no other folder
RUN/figures/        curves and tables as pictures
RUN/report.html     all of it on one page
RUN/metrics.json    every final figure; there once the run is finished
"""

import dataclasses
import json
import os
import platform
import shutil
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tfcamp.errors import UserError


class Run:
    """An open run folder.

    Attributes:
      folder: the run folder.
      resumed: whether an earlier process began this run.
      metrics: the final figures of a finished run, else None.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, Any], may_differ: Collection[str]
    ) -> None:
        """Opens or makes the folder.

        Args:
          folder: made when missing.
          options: the options of the run, as what JSON can say.
          may_differ: options that a resumed run may change.

        Raises:
          UserError: the folder holds a run with other options, or something else.
        """
        self.folder = folder
        self._started = time.monotonic()
        self.metrics: dict[str, Any] | None = None
        config_path = folder / "config.json"
        self.resumed = config_path.exists()
        if self.resumed:
            before = self._read_config(config_path)
            self._compare(before["options"], options, may_differ)
            self._compare_threads(before["environment"])
        elif folder.exists() and any(folder.iterdir()):
            raise self._no_run()
        folder.mkdir(parents=True, exist_ok=True)
        # First, so that a folder whose disk is full stays empty and can be tried again.
        write_json(config_path, {"options": dict(options), "environment": describe_environment()})
        for part in (self.checkpoints, self.figures):
            part.mkdir(exist_ok=True)
        if (folder / "metrics.json").exists():
            self.metrics = json.loads((folder / "metrics.json").read_text("utf-8"))

    @classmethod
    def open(cls, config: Any, project: str, *, may_differ: Collection[str] = ()) -> "Run":
        """Opens the run of a project's config.

        Args:
          config: a dataclass with a field ``run_dir``, None for ``runs/<project>/<date-time>``.
          project: the name of the project.
          may_differ: fields, beside the folders, that a resumed run may change.
        """
        options = json.loads(json.dumps(dataclasses.asdict(config), default=str))
        now = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = config.run_dir or Path("runs") / project / now
        return cls(folder, options, {"run_dir", "data_dir", "export_dir", *may_differ})

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.folder / "figures"

    def say(self, line: str) -> None:
        """Prints a line and keeps it in the log."""
        tqdm.write(line)  # above a progress bar, where one is shown
        with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
            log.write(f"{datetime.now().isoformat(timespec='seconds')}  {line}\n")

    def reopen(self) -> None:
        """Makes a finished run unfinished, because more of it is asked for."""
        self.metrics = None
        (self.folder / "metrics.json").unlink(missing_ok=True)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Writes metrics.json, which marks the run as finished."""
        self.metrics = {**metrics, "environment": describe_environment()}
        write_json(self.folder / "metrics.json", self.metrics)

    @property
    def seconds(self) -> float:
        """Wall time of this process's part of the run, in seconds."""
        return time.monotonic() - self._started

    def _no_run(self) -> UserError:
        return UserError(
            f"--run-dir {self.folder} holds no run but other files: name another folder"
        )

    def _read_config(self, path: Path) -> dict[str, Any]:
        """Reads config.json, a name that other programs give to their files too."""
        try:
            config = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise self._no_run() from None
        if not isinstance(config, dict) or not {"options", "environment"} <= set(config):
            raise self._no_run()
        return config

    def _compare(self, before: Mapping, now: Mapping, may_differ: Collection[str]) -> None:
        different = sorted(
            name for name in {*before, *now} - set(may_differ) if before.get(name) != now.get(name)
        )
        if not different:
            return
        finished = (self.folder / "metrics.json").exists()
        if not finished and not any(self.checkpoints.glob("*.npz")):
            # It never took a step: a misspelt option must not cost the folder its name.
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            return
        name = different[0]
        option = "--" + name.replace("_", "-")
        raise UserError(
            f"--run-dir {self.folder} holds a run with {option} {before.get(name)}, not "
            f"{now.get(name)}: give the same options to go on, or another --run-dir"
        )

    def _compare_threads(self, before: Mapping) -> None:
        now = describe_environment()
        if before["threads"] != now["threads"]:
            self.say(
                f"this run began with {before['threads']} threads, now there are "
                f"{now['threads']}: its results will differ in the last bits"
            )


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that ``path`` is either the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def describe_environment() -> dict[str, Any]:
    """Returns the versions, the device and the number of threads that figures depend on."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices()
    accelerators = [device.name for device in devices if device.device_type != "CPU"]
    packages = ("tfcamp", "tensorflow", "keras", "numpy")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "device": ", ".join(accelerators) or f"CPU ({platform.processor() or platform.machine()})",
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
    }
