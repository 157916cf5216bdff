"""Why an NVIDIA GPU is used, or is not.

TensorFlow loads NVIDIA's driver (libcuda.so.1) and then seven libraries of CUDA by name, and leaves
the GPU alone when one of them is missing, with a warning that does not say which. It says so in its
log when asked (`LOG_LIBRARIES`), so this is no guess: the log is read.
"""

import ctypes
import os
import platform
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfcamp.doctor.findings import Finding, note, ok
from tfcamp.doctor.installation import MAIN_JOB

INSTALL_GPU = 'pip install -e ".[gpu]"'
ON_CPU = f"CUDA_VISIBLE_DEVICES=-1 {MAIN_JOB}"
# Environment variables with which TensorFlow names each library that it cannot load.
LOG_LIBRARIES = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}

_NOT_LOADED = re.compile(r"Could not load dynamic library '([^']+)'; dlerror: ([^;\n]*)")
# It gets on without these.
_OPTIONAL = ("libcuda.so", "libnvidia-ml.so", "libnvinfer", "libnvshmem", "libcupti", "libtpu")
_NO_DEVICE = "CUDA_ERROR_NO_DEVICE"
_NO_KERNELS = "not built with CUDA kernel binaries compatible with compute capability"
# A driver of CUDA 12.0 serves all of 12.x (NVIDIA, "CUDA compatibility": minor versions).
_LEAST_CUDA = 12_000
_LEAST_DRIVER = 525


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's driver says of itself.

    Attributes:
      error: why it cannot be used, None if it can: the loader's words or the name of CUDA's error.
      loaded: whether its library was there at all.
      cuda: the CUDA version it is made for as 1000 major + 10 minor; 0 where unknown.
      gpus: how many GPUs it shows.
    """

    error: str | None = None
    loaded: bool = True
    cuda: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Gpus:
    """All that the judgement depends on.

    Attributes:
      used: a description of each GPU that TensorFlow computes on.
      cards: NVIDIA's cards that the system knows of.
      driver: see `Driver`.
      cuda_build: whether this TensorFlow is built for CUDA.
      log: what TensorFlow wrote while it looked for devices.
      library_folders: folder of each library that pip installed, by the library's name.
      system: as `platform.system()` has it.
      machine: as `platform.machine()` has it.
      distribution: ``ID`` in /etc/os-release.
      in_wsl: whether this is Linux inside Windows.
      in_container: whether this is a container.
      visible: CUDA_VISIBLE_DEVICES, None where it is not set.
    """

    used: Sequence[str] = ()
    cards: int = 0
    driver: Driver = field(default_factory=Driver)
    cuda_build: bool = True
    log: str = ""
    library_folders: Mapping[str, Path] = field(default_factory=dict)
    system: str = "Linux"
    machine: str = "x86_64"
    distribution: str = "ubuntu"
    in_wsl: bool = False
    in_container: bool = False
    visible: str | None = None


def ask_driver() -> Driver:
    """Asks NVIDIA's driver, if there is one, without TensorFlow."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(error=str(error), loaded=False)
    version, count = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    code = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if code:
        name = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(name))
        return Driver(error=(name.value or b"error").decode(), cuda=version.value)
    return Driver(cuda=version.value, gpus=count.value)


def count_cards(bus: Path = Path("/sys/bus/pci/devices"), wsl: Path = Path("/dev/dxg")) -> int:
    """Returns how many of NVIDIA's GPUs the system knows of, with or without a driver.

    Args:
      bus: where Linux lists its devices.
      wsl: the GPU as Linux inside Windows sees it, whoever made it.
    """
    if platform.system() != "Linux":
        return int(shutil.which("nvidia-smi") is not None)

    def has(device: Path, name: str, value: str) -> bool:
        try:
            return (device / name).read_text().startswith(value)
        except OSError:
            return False

    devices = bus.iterdir() if bus.is_dir() else ()
    cards = sum(has(it, "vendor", "0x10de") and has(it, "class", "0x03") for it in devices)
    return cards or int(wsl.exists() and shutil.which("nvidia-smi") is not None)


def pip_libraries(site_packages: Path) -> dict[str, Path]:
    """Returns the folders of NVIDIA's libraries that pip installed, by the libraries' names."""
    return {path.name: path.parent for path in site_packages.glob("nvidia/*/lib/lib*.so.*")}


def missing_libraries(log: str) -> dict[str, str]:
    """Returns the libraries that TensorFlow could not load, and the loader's reason for each.

    >>> missing_libraries("dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; "
    ...                   "dlerror: libcudnn.so.9: cannot open shared object file: No such file")
    {'libcudnn.so.9': 'cannot open shared object file: No such file'}
    """
    return {
        name: reason.removeprefix(f"{name}: ").strip()
        for name, reason in _NOT_LOADED.findall(log)
        if not name.startswith(_OPTIONAL)
    }


def check_gpu(gpus: Gpus) -> Finding:
    """Judges whether the NVIDIA GPUs of a machine are used, and if not, what keeps them."""
    if gpus.used:
        names = ", ".join(gpus.used)
        if _NO_KERNELS in gpus.log:
            message = f"{names}; its code is compiled at the first start, for half an hour or more"
            return note("gpu", message, f"wait, or if training fails on it: {ON_CPU}")
        return ok("gpu", names)
    if gpus.system == "Darwin":
        return ok("gpu", "none: TensorFlow has no GPU support on macOS, it computes on the CPU")
    # A driver without its GPU may be left over; one that fails otherwise has something to drive.
    failing = gpus.driver.loaded and gpus.driver.error not in (None, _NO_DEVICE)
    if not gpus.cards and not gpus.driver.gpus and not failing:
        return ok("gpu", "none of NVIDIA's here, TensorFlow computes on the CPU")
    if gpus.system == "Windows":
        message = "not used: TensorFlow has had no GPU support on Windows since 2.11"
        remedy = f"wsl --install, and inside it, in a checkout: {INSTALL_GPU}"
        return note("gpu", message, remedy)
    return _check_unused(gpus)


def _check_unused(gpus: Gpus) -> Finding:
    """Goes the way that TensorFlow goes, as far as it came."""
    if gpus.visible is not None and (gpus.visible == "" or gpus.visible.startswith("-")):
        message = f"hidden by CUDA_VISIBLE_DEVICES={gpus.visible}"
        return note("gpu", message, "unset CUDA_VISIBLE_DEVICES")
    if not gpus.cuda_build:
        message = f"not used: this TensorFlow is built without CUDA, for {gpus.machine}"
        if gpus.machine != "x86_64":  # PyPI has none with CUDA
            return note("gpu", message, "train on the CPU, or on a machine with an x86_64 CPU")
        remedy = f"pip uninstall -y tensorflow-cpu tensorflow && {INSTALL_GPU}"
        return note("gpu", message, remedy)
    if not gpus.driver.loaded:
        return note("gpu", f"not used: no driver ({gpus.driver.error})", _install_driver(gpus))
    if 0 < gpus.driver.cuda < _LEAST_CUDA:
        version = f"{gpus.driver.cuda // 1000}.{gpus.driver.cuda % 1000 // 10}"
        message = f"not used: the driver is too old, made for CUDA {version}: 12 is needed"
        where = (
            "in Windows" if gpus.in_wsl else "outside the container" if gpus.in_container else ""
        )
        update = f"install driver {_LEAST_DRIVER} or later from https://www.nvidia.com/drivers"
        return note("gpu", message, f"{where}, {update}" if where else update)
    if gpus.driver.error is not None:
        return _check_driver_error(gpus)
    missing = missing_libraries(gpus.log)
    if missing:
        return _check_missing(missing, gpus.library_folders)
    message = "not used, and TensorFlow does not say why in a way that is known here"
    command = 'python -c "import tensorflow as tf; tf.config.list_physical_devices()"'
    return note("gpu", message, f"read what it writes: TF_CPP_MIN_LOG_LEVEL=0 {command}")


def _check_missing(missing: Mapping[str, str], folders: Mapping[str, Path]) -> Finding:
    names = ", ".join(missing)
    if not missing.keys() <= folders.keys():
        reasons = {it for it in missing.values() if "No such file" not in it}
        why = f" ({min(reasons)})" if reasons else ""
        return note("gpu", f"not used: TensorFlow cannot load {names}{why}", INSTALL_GPU)
    # TensorFlow 2.21 does not look into nvidia/cusolver/lib, where pip puts libcusolver.so.11.
    paths = ":".join(sorted({str(folders[name]) for name in missing}))
    message = f"not used: {names} is installed, but TensorFlow does not look where pip put it"
    return note("gpu", message, f"export LD_LIBRARY_PATH={paths}:$LD_LIBRARY_PATH")


def _check_driver_error(gpus: Gpus) -> Finding:
    error = gpus.driver.error
    message = f"not used: the driver answers {error}"
    if error == "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH":
        return note("gpu", f"{message}: it was updated since the start", "sudo reboot")
    if error == _NO_DEVICE and gpus.in_container:
        return note("gpu", message, "start the container with: docker run --gpus all")
    remedy = "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm; if that fails: sudo reboot"
    return note("gpu", message, "wsl --shutdown, in Windows" if gpus.in_wsl else remedy)


def _install_driver(gpus: Gpus) -> str:
    if gpus.in_wsl:
        return "in Windows, install the driver from https://www.nvidia.com/drivers"
    if gpus.in_container:
        return "start the container with: docker run --gpus all (NVIDIA Container Toolkit)"
    if gpus.distribution == "ubuntu":
        return "sudo ubuntu-drivers install && sudo reboot"
    return "install the driver from https://www.nvidia.com/drivers"


def surroundings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Returns the fields of `Gpus` that do not depend on TensorFlow."""
    release = platform.release().lower()
    return {
        "cards": count_cards(),
        "system": platform.system(),
        "machine": platform.machine(),
        "distribution": _distribution(),
        "in_wsl": "microsoft" in release,
        "in_container": any(Path(it).exists() for it in ("/.dockerenv", "/run/.containerenv")),
        "visible": environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""
