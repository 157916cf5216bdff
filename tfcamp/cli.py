"""The command line: ``tfcamp …`` itself, and what every project script does around its ``main``."""

import errno
import json as json_format
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import tyro

from tfcamp.errors import Interrupted, UserError

app = tyro.extras.SubcommandApp()
Config = TypeVar("Config")

# What the disk, not the program, is to blame for.
_DISK_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOTDIR}


def run_project(main: Callable[[Config], None], config_class: type[Config]) -> None:
    """Runs a project's main with the options of the command line.

    A mistake of the user's ends in one line on stderr and exit status 2; a run that was asked to
    stop ends with 128 + the signal's number, as in a shell, and so does one whose output nobody
    reads on (``| head``), quietly.

    Args:
      main: the project's main.
      config_class: a dataclass; its fields and their docstrings make the options and ``--help``.
    """
    description = (main.__doc__ or "").strip()
    # The config, too, refuses values with a UserError.
    sys.exit(_exit_status(lambda: main(tyro.cli(config_class, description=description))))


def _exit_status(run: Callable[[], None]) -> int:
    try:
        try:
            run()
        finally:
            sys.stdout.flush()  # or a closed pipe would be noticed after the last except
    except BrokenPipeError:
        # Python flushes once more at its end: into nothing, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        print(
            f"error: {error.filename or 'the run folder'}: {error.strerror}; what was written "
            "before is kept: mend it or choose another place, and give the same command again",
            file=sys.stderr,
        )
        return 2
    except Interrupted as interruption:
        print(f"{interruption}: the same command with --run-dir goes on from there")
        return 128 + interruption.signal_number
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


@app.command
def doctor(json: bool = False) -> None:
    """Show what this machine offers: versions, devices, threads.

    Args:
      json: Print one JSON object instead of a table.
    """
    from tfcamp.runs import describe_environment

    environment = describe_environment()
    if json:
        print(json_format.dumps(environment))
        return
    for name, value in environment.items():
        print(f"{name:<12}{value}")


@app.command
def launch(
    command: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="COMMAND")],
    /,
    workers: int = 2,
    port: int | None = None,
) -> None:
    """Run a command as several workers that train together, on this machine.

    tfcamp launch --workers 2 -- python projects/news/train.py --strategy multi_worker --run-dir
    runs/two

    Each worker is a process with its own TF_CONFIG; together they take the same steps as one
    process with the same --batch-size. It rehearses a cluster; several GPUs of one machine are
    faster with --strategy mirrored, in one process. Each line of output begins with the worker's
    number. Ctrl-C lets all of them save; when one fails, all end, with its exit status.

    Args:
      command: The program and its arguments, after ``--``.
      workers: Number of processes. They share this machine's cores.
      port: The workers listen on this port and those that follow; free ones if not given.
    """
    from tfcamp.launch import launch

    sys.exit(launch(command, workers=workers, port=port))


def main() -> None:
    """Runs ``tfcamp``."""
    description = "TensorFlow 2 / Keras 3 examples that work like a product."
    sys.exit(_exit_status(lambda: app.cli(prog="tfcamp", description=description)))
