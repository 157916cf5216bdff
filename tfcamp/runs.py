"""A run folder: what was asked for, what happened, what came out of it.

RUN/config.json     the options, and the versions they ran with
RUN/log.txt         what was printed
RUN/lock            held while a process works on the run; names that process
RUN/data/           what was fitted on the training split, and the ids that are read
RUN/history.jsonl   the measurements of each epoch
RUN/tensorboard/    the same, for "tensorboard --logdir RUN"
RUN/checkpoints/    what the run needs to go on
RUN/saved_model/    the exported model, where --export-dir names no other folder
RUN/figures/        curves and tables as pictures
RUN/report.html     all of it on one page
RUN/metrics.json    every final figure; there once the run is finished

RUN may be an address, ``gs://bucket/run`` say: checkpoints are written there, and all the rest but
``data`` in a temporary folder here, from which it is sent there with every line that is said.
"""

import contextlib
import dataclasses
import itertools
import json
import shutil
import tempfile
import time
import weakref
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tfcamp.data.locks import FolderLock
from tfcamp.data.storage import (
    FolderCopy,
    as_path,
    gone,
    is_remote,
    remote_errors,
    whole_file,
    write_json,
)
from tfcamp.environment import describe_environment
from tfcamp.errors import Diverged, UserError
from tfcamp.run_options import asks_for_more, different_option, no_run, read_run_config

# What a process that was killed while it began leaves in a new run folder.
_BEGINNINGS = {"lock", "config.json.partial"}


class Run:
    """An open run folder, to be closed; the end of the process closes it too, however it comes.

    Attributes:
      home: the run folder, as all workers and later processes see it.
      folder: where this process writes: ``home``, or a temporary folder if ``home`` is an address
        or this process is not the chief's.
      chief: whether this process writes to ``home``.
      resumed: whether an earlier process began this run.
      metrics: the final figures of a finished run, else None.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Any],
        may_differ: Collection[str],
        *,
        chief: bool = True,
    ) -> None:
        """Opens or makes the folder.

        Args:
          folder: made when missing.
          options: the options of the run, as what JSON can say.
          may_differ: options that a resumed run may change.
          chief: False for the other workers of a cluster: they read ``folder`` and leave it as it
            is, and say nothing.

        Raises:
          UserError: the folder holds a run with other options, or something else, or another
            process works on it.
        """
        self.home = self.folder = as_path(folder)
        self.chief = chief
        self.resumed = False
        self.metrics: dict[str, Any] | None = None
        self._nameless = options.get("run_dir", folder) is None
        self._earlier_seconds = 0.0
        self._started = time.monotonic()
        self._lock: FolderLock | None = None
        self._copy: FolderCopy | None = None
        if not chief or is_remote(self.home):
            self.folder = Path(tempfile.mkdtemp(prefix="tfcamp-"))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        with remote_errors(self.home), contextlib.ExitStack() as on_error:
            on_error.callback(self.close)
            self._refuse_other_files()
            if chief:
                self._take()
            self._begin_or_resume(options, may_differ)
            on_error.pop_all()

    @classmethod
    def open(
        cls,
        config: Any,
        project: str,
        *,
        may_differ: Collection[str] = (),
        chief: bool = True,
        stamp: str | None = None,
    ) -> "Run":
        """Opens the run of a project's config.

        Args:
          config: a dataclass with a field ``run_dir``, None for ``runs/<project>/<date-time>``.
          project: the name of the project.
          may_differ: fields, beside the folders, that a resumed run may change.
          chief: whether this process is the one that writes.
          stamp: stands for ``<date-time>``, so that all workers of a cluster mean one folder.

        Raises:
          UserError: the folder cannot be used.
          ValueError: ``config`` leaves it to a worker, who does not know the chief's clock, to name
            the folder.
        """
        options = json.loads(json.dumps(dataclasses.asdict(config), default=str))
        if config.run_dir is not None:
            folder = config.run_dir
        elif stamp is not None:
            folder = Path("runs") / project / stamp
        elif chief:
            folder = _make_folder(Path("runs") / project)
        else:
            raise ValueError("chief=False needs config.run_dir or a stamp, got neither")
        may_differ = {"run_dir", "data_dir", "export_dir", *may_differ}
        return cls(folder, options, may_differ, chief=chief)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, the same for all workers."""
        return self.home / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.folder / "figures"

    def say(self, line: str) -> None:
        """Prints a line and keeps it in the log; files of a remote run are sent.

        Raises:
          UserError: the run folder is gone.
        """
        if not self.chief:
            return
        tqdm.write(line)  # above a progress bar, where one is shown
        if self.is_gone():
            raise gone(self.home)
        with open(self.folder / "log.txt", "a", encoding="utf-8") as log:
            log.write(f"{datetime.now().isoformat(timespec='seconds')}  {line}\n")
        self._send()

    def compare_rows(self, name: str, sha256: str) -> None:
        """Makes sure that the run goes on with the rows it began with; before ``data/`` is made.

        Args:
          name: of the data set, for the message.
          sha256: of its files.

        Raises:
          UserError: steps were taken on other rows, whose ids and vectors the weights know.
        """
        path = self.folder / "dataset.sha256"
        if path.exists() and path.read_text("utf-8") != sha256:
            if self._took_steps():
                raise UserError(
                    f"--run-dir {self.home} holds a run on other rows: {name} has changed since; "
                    "bring its files back, or name another --run-dir"
                )
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            path.unlink()
        if not path.exists():
            with whole_file(path) as file:
                file.write(sha256.encode())

    def is_finished(self, config: Any) -> bool:
        """Tells whether the run has all the training that a config asks for.

        Args:
          config: with the fields ``epochs``, ``max_steps`` and ``patience``.
        """
        return self.metrics is not None and not asks_for_more(vars(config), self.metrics["asked"])

    def reopen(self) -> None:
        """Makes a finished run unfinished, because more of it is asked for."""
        self.metrics = None
        if self.chief:
            for folder in {self.folder, self.home}:
                with remote_errors(folder):
                    (folder / "metrics.json").unlink(missing_ok=True)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Writes metrics.json, which marks the run as finished.

        Raises:
          UserError: the run folder is gone.
        """
        self.metrics = {**metrics, "environment": describe_environment()}
        if not self.chief:
            return
        if self.is_gone():
            raise gone(self.home)
        self._send()
        write_json(self.folder / "metrics.json", self.metrics)  # after all the rest
        self._send()

    @property
    def seconds(self) -> float:
        """Wall time of the run in seconds: of this process, and of those before it.

        Of those it counts what led to the checkpoint that this one goes on from, if the trainer
        saves the run's state.
        """
        return self._earlier_seconds + time.monotonic() - self._started

    def get_state(self) -> dict[str, float]:
        """Returns what a checkpoint keeps of the run: its wall time."""
        return {"seconds": self.seconds}

    def set_state(self, state: Mapping[str, float]) -> None:
        """Takes the state of a checkpoint back."""
        self._earlier_seconds = state["seconds"]

    def is_gone(self) -> bool:
        """Tells whether the run folder was deleted or moved while the run was open."""
        if self._lock is not None:
            return self._lock.is_gone()
        with remote_errors(self.home):
            return not (self.home / "config.json").exists()

    def close(self) -> None:
        """Lets other processes have the folder."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "Run":
        """Returns the run."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        """Closes the run.

        Raises:
          UserError: the body failed because the run folder is gone.
        """
        unexplained = isinstance(error, Exception) and not isinstance(error, UserError)
        is_gone = unexplained and self.chief and self.is_gone()
        self.close()
        if is_gone:
            raise gone(self.home) from error
        is_mistake = isinstance(error, UserError) and not isinstance(error, Diverged)
        if is_mistake and self._nameless and not self._took_steps():
            shutil.rmtree(self.folder, ignore_errors=True)  # nobody would go on with it

    def _refuse_other_files(self) -> None:
        """Makes sure that what is in the folder, if anything, is a run."""
        # Listed once: the chief may be writing the first files this moment.
        names = {path.name for path in self.home.iterdir()} if self.home.exists() else set()
        if "config.json" in names:
            read_run_config(self.home)
        elif names - _BEGINNINGS:
            raise no_run(self.home)

    def _take(self) -> None:
        """Makes the folder and keeps other processes out of it."""
        self.home.mkdir(parents=True, exist_ok=True)
        if is_remote(self.home):
            self._copy = FolderCopy(self.folder, self.home, without=("data",))
            where = "there are no locks in a bucket"
        else:
            self._lock = FolderLock(self.home)
            where = None if self._lock.held else f"the file system of {self.home} has no locks"
        if where:
            tqdm.write(f"{where}: make sure that no other process works on this run")

    def _begin_or_resume(self, options: Mapping[str, Any], may_differ: Collection[str]) -> None:
        self.resumed = (self.home / "config.json").exists()
        before = read_run_config(self.home) if self.resumed else None
        if before:
            self._compare(before["options"], options, may_differ)
        with contextlib.suppress(FileNotFoundError):
            self.metrics = json.loads((self.home / "metrics.json").read_text("utf-8"))
        if not self.chief:
            return
        environment = describe_environment()
        if before:
            self._compare_threads(before["environment"], environment)
        # First, so that a folder whose disk is full stays empty and can be tried again.
        write_json(
            self.folder / "config.json", {"options": dict(options), "environment": environment}
        )
        self._send()
        for part in (self.checkpoints, self.figures):
            part.mkdir(exist_ok=True)

    def _send(self) -> None:
        if self._copy is not None:
            self._copy.send()

    def _compare(self, before: Mapping, now: Mapping, may_differ: Collection[str]) -> None:
        name = different_option(before, now, may_differ)
        if name is None:
            return
        if not self._took_steps():
            # It never took a step: a misspelt option must not cost the folder its name.
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            return
        held, asked = ("search" if "tuner" in options else "training" for options in (before, now))
        if held != asked:
            raise UserError(
                f"--run-dir {self.home} holds a {held}, no {asked}: name another folder"
            )
        option = "--" + name.replace("_", "-")
        raise UserError(
            f"--run-dir {self.home} holds a run with {option} {before.get(name)}, not "
            f"{now.get(name)}: give the same options to go on, or another --run-dir"
        )

    def _took_steps(self) -> bool:
        """Tells whether a training, or a search, has left something that cost time."""
        costly = {"checkpoints": "*.npz", "trials": "*"}
        folders = {self.home / name: pattern for name, pattern in costly.items()}
        return (self.home / "metrics.json").exists() or any(
            folder.exists() and any(folder.glob(pattern)) for folder, pattern in folders.items()
        )

    def _compare_threads(self, before: Mapping, now: Mapping) -> None:
        if before["threads"] != now["threads"]:
            self.say(
                f"this run began with {before['threads']} threads, now there are "
                f"{now['threads']}: its results will differ in the last bits"
            )


def _make_folder(parent: Path) -> Path:
    """Makes the folder of a new run; another may have begun in the same second."""
    parent.mkdir(parents=True, exist_ok=True)
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")
