"""What is installed: Python, the packages, the kinds of TensorFlow, the checkout."""

import importlib.util
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tfcamp.doctor.findings import Finding, note, ok, problem

INSTALL = "pip install -e ."
INSTALL_TPU = (
    'pip uninstall -y tensorflow tensorflow-tpu && pip install "tensorflow-tpu==2.20.*" '
    "-f https://storage.googleapis.com/libtpu-tf-releases/index.html"
)
NEW_ENVIRONMENT = f"python3 -m venv --clear .venv && . .venv/bin/activate && {INSTALL}"
MAIN_JOB = "python projects/news/train.py"

# Packages that are the module "tensorflow", so any of them will do, and only one at a time.
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-tpu", "tf-nightly")
# What TensorFlow loads beside itself, and the libraries of NVIDIA's whose versions matter most.
PLUGINS = (
    "tensorflow-metal",
    "tensorflow-directml-plugin",
    "intel-extension-for-tensorflow",
    "libtpu",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cudnn-cu12",
)


def installed_version(package: str) -> str | None:
    """Returns the version of a package as pip names it, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {package: installed_version(package) for package in packages}
    return {package: version for package, version in found.items() if version is not None}


def find_checkout() -> Path | None:
    """Returns the folder whose ``projects`` Python imports, if it holds the main job."""
    spec = importlib.util.find_spec("projects")
    for place in (spec.submodule_search_locations if spec else None) or ():
        if (Path(place) / "news" / "train.py").is_file():
            return Path(place).parent
    return None


def prefix_of_python() -> str | None:
    """Returns `sys.prefix` of what the shell calls ``python``, None if there is no such program."""
    command = ["python", "-c", "import sys; print(sys.prefix)"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def check_python(
    required: str,
    *,
    found: str | None,
    prefix: str = sys.prefix,
    version: str = platform.python_version(),
) -> Finding:
    """Judges the version of Python, and whether ``python`` is the one that tfcamp runs in.

    Args:
      required: versions that tfcamp works with, ``>=3.11,<3.14`` say.
      found: see `prefix_of_python`.
      prefix: of this Python.
      version: of this Python.
    """
    if not SpecifierSet(required).contains(version, prereleases=True):
        remedy = f"install Python {required}, then with it: {NEW_ENVIRONMENT}"
        return problem("python", f"{version}, but tfcamp needs {required}", remedy)
    if found is None or Path(found).resolve() != Path(prefix).resolve():
        message = f"tfcamp is installed in {prefix}, but python is {found or 'no command here'}"
        activate = Path(prefix) / "bin" / "activate"
        if activate.exists():
            return problem("python", message, f". {shlex.quote(str(activate))}")
        scripts = shlex.quote(str(Path(sys.executable).parent))
        return problem("python", message, f"export PATH={scripts}:$PATH")
    return ok("python", f"{version} in {prefix}")


def check_packages(
    requirements: Sequence[str] | None,
    version_of: Callable[[str], str | None] = installed_version,
) -> Finding:
    """Judges whether every package that tfcamp needs is there in a version that it can use.

    Args:
      requirements: as the package's metadata has them, ``numpy>=1.26`` say; those of extras are
        passed over. None if tfcamp itself is not installed.
      version_of: name to installed version, None where it is missing.
    """
    if requirements is None:
        return problem("packages", "tfcamp is not installed", INSTALL)
    needed = [Requirement(text) for text in requirements]
    needed = [it for it in needed if it.marker is None or it.marker.evaluate({"extra": ""})]
    wrong = []
    for requirement in needed:
        names = TENSORFLOWS if requirement.name == "tensorflow" else (requirement.name,)
        versions = [version for name in names if (version := version_of(name)) is not None]
        if not versions:
            wrong.append(f"{requirement.name} is missing")
        elif not any(requirement.specifier.contains(it, prereleases=True) for it in versions):
            wrong.append(f"{requirement.name} is {versions[0]}, not {requirement.specifier}")
    if not wrong:
        return ok("packages", f"all {len(needed)} that tfcamp needs")
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return problem("packages", ", ".join(wrong[:3]) + more, INSTALL)


def check_tensorflow(version: str, kind: str, installed: Mapping[str, str]) -> Finding:
    """Judges which TensorFlow it is.

    Args:
      version: what the module says.
      kind: the versions of CUDA and cuDNN that it is built for, empty if for neither.
      installed: versions of those of `TENSORFLOWS` that are installed.
    """
    if len(installed) > 1:
        names = " ".join(installed)
        message = f"{version}, but {names} are installed in one place, over each other"
        remedy = f"pip uninstall -y {names} && {INSTALL}"
        if "tensorflow-tpu" in installed:
            remedy = f"for a TPU: {INSTALL_TPU}; else: {remedy}"
        return note("tensorflow", message, remedy)
    return ok("tensorflow", f"{version}, built for {kind or 'CPUs'}")


def check_plugins(installed: Mapping[str, str]) -> Finding:
    """Names what TensorFlow loads beside itself."""
    names = ", ".join(f"{name} {version}" for name, version in installed.items())
    return ok("plugins", names or "none")


def check_tensorboard(version: str | None) -> Finding:
    """Judges whether the curves of a run can be written and looked at."""
    if version is None:
        message = "not installed, and tf.summary cannot write without it"
        return problem("tensorboard", message, INSTALL)
    return ok("tensorboard", f"{version}; tensorboard --logdir runs")


def check_project(checkout: Path | None, here: Path) -> Finding:
    """Judges whether the main job is where it will be looked for.

    Args:
      checkout: see `find_checkout`.
      here: the working directory.
    """
    has_job = (here / "projects" / "news" / "train.py").is_file()
    if checkout is None:
        if has_job:
            message = "Python cannot import projects: tfcamp was installed without -e"
            return problem("projects", message, INSTALL)
        message = "there is no checkout here, and the package comes without the projects"
        return problem("projects", message, f"go to the folder that holds projects/: {INSTALL}")
    if checkout == here:
        return ok("projects", str(here))
    if has_job:
        message = f"those of {checkout} are imported, not the ones here"
        return note("projects", message, INSTALL)
    message = f"they are in {checkout}, not here"
    return problem("projects", message, f"cd {shlex.quote(str(checkout))}")


def check_imports(error: str | None) -> Finding:
    """Judges whether all that the main job imports could be imported.

    Args:
      error: type and message of what was raised, None if nothing was.
    """
    if error is None:
        return ok("imports", "all that train.py imports")
    message = f"{MAIN_JOB} cannot start: {error}"
    if "metal_plugin" in error:
        return problem("imports", message, "pip uninstall -y tensorflow-metal")
    if error.startswith("ModuleNotFoundError"):
        return problem("imports", message, INSTALL)
    # Parts that do not fit each other: an old numpy under a new package, say.
    return problem("imports", message, NEW_ENVIRONMENT)


def check_ending(exit_status: int | None, stage: str) -> Finding:
    """Says why TensorFlow did not come to an end.

    Args:
      exit_status: of its process, minus the signal's number if one ended it; None where it was
        given up.
      stage: what it was doing.
    """
    if exit_status is None:
        remedy = "CUDA_VISIBLE_DEVICES=-1 tfcamp doctor looks at the CPU alone"
        return problem("tensorflow", f"no answer for minutes {stage}", remedy)
    if exit_status == -4:  # SIGILL; signal has no such name on Windows
        message = "this processor lacks instructions (AVX) that TensorFlow is built with"
        return problem(
            "tensorflow", message, "another machine, or Colab: projects/news/colab.ipynb"
        )
    if exit_status == -9:
        message = f"it was killed {stage}: is there too little memory?"
        return problem("tensorflow", message, "close other programs, and look again")
    try:
        how = signal.Signals(-exit_status).name
    except ValueError:
        how = f"exit status {exit_status}"
    return problem("tensorflow", f"it crashed {stage} ({how})", NEW_ENVIRONMENT)
