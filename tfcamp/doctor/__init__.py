"""``tfcamp doctor``: would training run here, how fast, and what mends it if not.

Each check is a function of facts that returns one `Finding`; this module gathers the facts. All
that needs TensorFlow happens in a process of its own, `tfcamp.doctor.probe`.
"""

import contextlib
import dataclasses
import json as json_format
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tfcamp.doctor import gpu, installation, machine, speed
from tfcamp.doctor.findings import Finding, ok
from tfcamp.training.pace import count_cores

__all__ = ["Finding", "Probe", "examine_machine", "examine_tensorflow", "run_doctor", "run_probe"]

# A machine under load imports TensorFlow slowly; a GPU may compile its code first.
_PATIENCE_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class Probe:
    """What the other process found out.

    Attributes:
      facts: what it wrote, see `tfcamp.doctor.probe`.
      log: what TensorFlow wrote on stderr.
      exit_status: of the process, minus the number of the signal that ended it; None where it was
        given up.
    """

    facts: dict[str, Any]
    log: str = ""
    exit_status: int | None = 0


def run_doctor(*, json: bool = False, seconds: float = 10.0) -> int:
    """Looks at this machine and prints what it finds.

    Args:
      json: print one JSON object instead of lines.
      seconds: how long the speed tests may take; 0 leaves them out.

    Returns:
      The exit status: 1 if the main job would fail, else 0.
    """
    with contextlib.suppress(AttributeError):  # a notebook's output cannot
        # What is wrong with the output must still be said.
        sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore
    findings: list[Finding] = []

    def tell(found: Iterable[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            if not json:
                lines = finding.lines(shutil.get_terminal_size().columns)
                print("\n".join(lines), flush=True)

    checkout, here = installation.find_checkout(), Path.cwd()
    tell(examine_machine(checkout, here))
    facts: dict[str, Any] = {}
    # Without temporary files there is no place for what the other process writes.
    if ("temporary", "problem") not in {(it.name, it.status) for it in findings}:
        if not json:
            print("now TensorFlow, which takes a moment …", file=sys.stderr, flush=True)
        probe = run_probe(checkout, seconds=seconds)
        tell(examine_tensorflow(probe))
        facts = probe.facts
    problems = [finding for finding in findings if finding.status == "problem"]
    if json:
        report = {
            "ok": not problems,
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "speeds": {name: facts[name] for name in speed.UNITS if name in facts},
            "environment": facts.get("environment", {}),
        }
        print(json_format.dumps(report, ensure_ascii=False))
    elif problems:
        print(f"\n{installation.MAIN_JOB} would fail, see {problems[0].name}")
    else:
        print(f"\n{installation.MAIN_JOB} will run")
    return 1 if problems else 0


def examine_machine(checkout: Path | None, here: Path) -> Iterator[Finding]:
    """Yields what can be said without TensorFlow.

    Args:
      checkout: the folder that holds ``projects``, None where there is none.
      here: the working directory.
    """
    try:
        about = metadata.metadata("tfcamp")
    except metadata.PackageNotFoundError:
        about = None
    yield installation.check_python(
        about["Requires-Python"] if about else "", found=installation.prefix_of_python()
    )
    yield installation.check_packages(about.get_all("Requires-Dist") or () if about else None)
    yield installation.check_tensorboard(installation.installed_version("tensorboard"))
    yield installation.check_plugins(installation.installed_versions(installation.PLUGINS))
    yield installation.check_project(checkout, here)
    yield machine.check_memory(*machine.free_memory())
    yield machine.check_run_folder(machine.look_at_folder((checkout or here) / "runs"))
    yield machine.check_temporary_folder(machine.temporary_folder())
    caches = machine.cache_folders()
    yield machine.check_caches({name: machine.look_at_folder(it) for name, it in caches.items()})
    yield machine.check_output(sys.stdout.encoding)


def examine_tensorflow(probe: Probe) -> Iterator[Finding]:
    """Yields what TensorFlow makes of this machine, as far as it came."""
    facts = probe.facts
    if "import_error" in facts:
        yield installation.check_imports(facts["import_error"])
        return
    installed = installation.installed_versions(installation.TENSORFLOWS)
    if "tensorflow" in facts:
        yield installation.check_imports(None)
        kind = f"CUDA {facts['cuda']}, cuDNN {facts['cudnn']}" if facts["cuda_build"] else ""
        yield installation.check_tensorflow(facts["tensorflow"], kind, installed)
        yield ok("keras", facts["keras"])
    if "strategy" in facts or "strategy_error" in facts:
        yield machine.check_strategy(
            facts.get("strategy", ""),
            facts.get("replicas", 0),
            workers=facts.get("workers", 1),
            error=facts.get("strategy_error"),
            installed=list(installed),
        )
    if "devices" in facts:
        yield machine.check_devices(facts["devices"], count_cores())
        yield gpu.check_gpu(
            gpu.Gpus(
                used=facts["gpus"],
                driver=gpu.Driver(**facts["driver"]),
                cuda_build=facts["cuda_build"],
                log=probe.log,
                library_folders=gpu.pip_libraries(_site_packages()),
                **gpu.surroundings(),
            )
        )
    if "font" in facts:
        yield machine.check_font(facts["font"])
    yield from speed.check_speeds(facts)
    if "failure" in facts:
        yield speed.check_failure(
            facts["failure"],
            stage=facts["stage"],
            on_gpu=bool(facts.get("gpus")),
            library_path=os.environ.get("LD_LIBRARY_PATH"),
        )
    elif probe.exit_status != 0 or facts.get("stage", "") is not None:
        yield installation.check_ending(probe.exit_status, facts.get("stage") or "at once")


def run_probe(
    checkout: Path | None, *, seconds: float, patience: float = _PATIENCE_SECONDS
) -> Probe:
    """Lets another process meet TensorFlow.

    Args:
      checkout: the folder whose main job is imported, None for TensorFlow and Keras alone.
      seconds: how long the speed tests may take; 0 leaves them out.
      patience: seconds after which the process is given up.
    """
    script = str(checkout / "projects" / "news" / "train.py") if checkout else ""
    program = str(Path(__file__).with_name("probe.py"))
    with tempfile.TemporaryDirectory() as folder:
        facts, log = Path(folder) / "facts", Path(folder) / "log"
        with open(log, "wb") as file:
            try:
                exit_status = subprocess.run(
                    # -P: this folder is not on the path.
                    [sys.executable, "-P", program, str(facts), str(seconds), script],
                    env=os.environ | gpu.LOG_LIBRARIES,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=file,
                    timeout=patience,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                exit_status = None
        told: dict[str, Any] = {}
        if facts.exists():
            for line in facts.read_text("utf-8").splitlines():
                with contextlib.suppress(ValueError):  # a crash may cut the last one
                    told |= json_format.loads(line)
        return Probe(told, log.read_text("utf-8", errors="replace"), exit_status)


def _site_packages() -> Path:
    """Returns the folder beside whose ``nvidia`` the module ``tensorflow`` lies."""
    spec = util.find_spec("tensorflow")
    return Path(spec.origin).parents[1] if spec and spec.origin else Path(os.devnull)
