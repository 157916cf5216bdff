"""The command line: ``tfcamp …`` itself, and what every project script does around its ``main``."""

import argparse
import contextlib
import errno
import importlib.util
import io
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from tfcamp import data_cli
from tfcamp.config_files import config_from_file, expanded_path
from tfcamp.errors import Interrupted, UserError

app = tyro.extras.SubcommandApp()
app.command(data_cli.app, name="data", help="List and fetch data sets, and check your own.")
Config = TypeVar("Config")
_registry = ConstructorRegistry()

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
    sys.exit(_exit_status(lambda: main(_parse_options(config_class, description))))


@_registry.primitive_rule
def _path_rule(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Tells tyro how an option is read that is a path."""
    if type_info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda arguments: expanded_path(arguments[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _parse_options(config_class: type[Config], description: str) -> Config:
    """Returns what the command line says, then what the file of ``--config`` says, then defaults.

    Raises:
      UserError: the file is of no use, or the config refuses a value.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=expanded_path, nargs="?")
    path = finder.parse_known_args()[0].config
    defaults = tyro.MISSING_NONPROP
    if path is not None:
        defaults = config_from_file(path, config_class, missing=tyro.MISSING)

    def options(
        config: Path | None = None,
        rest: Annotated[config_class, tyro.conf.arg(name="")] = defaults,  # pyright: ignore
    ) -> Any:
        """Takes the options apart.

        Args:
          config: A JSON file of options; those of the command line win over it.
          rest: All others.
        """
        del config
        return rest

    with _registry:
        return tyro.cli(options, description=description)


def _exit_status(run: Callable[[], None]) -> int:
    try:
        try:
            run()
        finally:
            sys.stdout.flush()  # or a closed pipe would be noticed after the last except
    except BrokenPipeError:
        # Python flushes once more at its end: into nothing, or it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # the number of SIGPIPE, also where there is none
    except UnicodeEncodeError as error:
        print(
            f"error: the output is written in {error.encoding}, which lacks "
            f"{error.object[error.start]!a}: set PYTHONUTF8=1",
            file=sys.stderr,
        )
        return 2
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
def doctor(json: bool = False, seconds: float = 10.0) -> None:
    """Check whether training would run on this machine, how fast, and what mends it.

    The exit status is 1 if python projects/news/train.py would fail.

    Args:
      json: Print one JSON object instead of lines.
      seconds: How long the speed tests may take; 0 leaves them out.
    """
    from tfcamp.doctor import run_doctor

    sys.exit(run_doctor(json=json, seconds=seconds))


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
      command: The program and its arguments, after "--".
      workers: Number of processes. They share this machine's cores.
      port: The workers listen on this port and those that follow; free ones if not given.
    """
    from tfcamp.launch import launch

    sys.exit(launch(command, workers=workers, port=port))


@app.command
def demo(saved_models: Path | None = None, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Open a page in the browser on which the trained models answer.

    Headlines, house numbers and sentences, in English and Chinese. Needs gradio:
    pip install -e ".[demo]". Nothing is sent over the network.

    Args:
      saved_models: Folder of the models, news/1 and so on; of this checkout if not given.
      host: Address to listen on; 0.0.0.0 lets other machines in.
      port: Port to listen on; 0 for any that is free.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError('tfcamp demo needs gradio: pip install -e ".[demo]"')
    from tfcamp.demo.server import serve_demo

    folder = saved_models or Path(__file__).parents[1] / "saved_models"
    serve_demo(folder, host=host, port=port)


def main() -> None:
    """Runs ``tfcamp``."""

    def run() -> None:
        description = "TensorFlow 2 / Keras 3 examples that work like a product."
        with _folded_help(), _registry:
            app.cli(prog="tfcamp", description=description)

    sys.exit(_exit_status(run))


class _HelpPage(io.StringIO):
    """Collects what ``--help`` says, and passes for the screen that it is meant for."""

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self._screen = screen

    @property
    def encoding(self) -> str:
        """The screen's encoding: tyro draws its boxes with what it has."""
        return self._screen.encoding

    def isatty(self) -> bool:
        """Tells whether there may be colours."""
        return self._screen.isatty()


@contextlib.contextmanager
def _folded_help() -> Iterator[None]:
    """Breaks the lines of ``--help``: tyro leaves each paragraph above its boxes in one."""
    arguments = set(itertools.takewhile(lambda argument: argument != "--", sys.argv[1:]))
    if not arguments & {"-h", "--help"}:
        yield
        return
    page = _HelpPage(sys.stdout)
    width = shutil.get_terminal_size().columns
    try:
        with contextlib.redirect_stdout(page):
            yield
    finally:
        for line in page.getvalue().splitlines():
            # Boxes are as wide as they should be, however long their colours make them.
            fits = len(line) <= width or line.startswith(("╭", "│", "╰", "\x1b"))
            print(line if fits else textwrap.fill(line, width, break_on_hyphens=False))
