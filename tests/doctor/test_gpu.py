"""Why a GPU is not used, from facts that TensorFlow and NVIDIA's driver gave or would give."""

import ctypes
from pathlib import Path

import pytest

from tfcamp.doctor.gpu import (
    INSTALL_GPU,
    ON_CPU,
    Driver,
    Gpus,
    ask_driver,
    check_gpu,
    count_cards,
    missing_libraries,
    pip_libraries,
)

NO_FILE = "cannot open shared object file: No such file or directory"
WORKING = Driver(cuda=12_050, gpus=1)


def log_of(*libraries: str, reason: str = NO_FILE) -> str:
    """What TensorFlow 2.21 wrote when it was given a driver and no libraries."""
    lines = [
        f"I0000 00:00:1.2 30 dso_loader.cc:144] Could not load dynamic library '{name}'; dlerror: "
        f"{name}: {reason}; LD_LIBRARY_PATH: /usr/lib"
        for name in ("libnvidia-ml.so.1", *libraries)
    ]
    loaded = (
        "I0000 00:00:1.1 30 dso_loader.cc:133] Successfully opened dynamic library libcuda.so.1"
    )
    return "\n".join(
        [loaded, *lines, "W0000 gpu_device.cc:2365] Cannot dlopen some GPU libraries."]
    )


def test_used():
    finding = check_gpu(Gpus(used=["GPU:0 NVIDIA T4", "GPU:1 NVIDIA T4"], cards=2, driver=WORKING))
    assert (finding.status, finding.message) == ("ok", "GPU:0 NVIDIA T4, GPU:1 NVIDIA T4")


def test_used_but_newer_than_tensorflow():
    log = (
        "W0000 gpu_device.cc:2459] TensorFlow was not built with CUDA kernel binaries compatible "
        "with compute capability 12.0. CUDA kernels will be jit-compiled from PTX, which could "
        "take 30 minutes or longer."
    )
    finding = check_gpu(Gpus(used=["GPU:0 RTX 5090"], cards=1, driver=WORKING, log=log))
    assert finding.status == "note"
    assert "half an hour" in finding.message and ON_CPU in str(finding.remedy)


@pytest.mark.parametrize(
    "driver", [Driver(error=NO_FILE, loaded=False), Driver(error="CUDA_ERROR_NO_DEVICE"), Driver()]
)
def test_none_here(driver):
    finding = check_gpu(Gpus(driver=driver))
    assert finding.status == "ok" and "computes on the CPU" in finding.message


@pytest.mark.parametrize("cards", [0, 1])
def test_macos(cards):
    finding = check_gpu(Gpus(system="Darwin", cards=cards, machine="arm64"))
    assert finding.status == "ok" and "macOS" in finding.message


def test_windows():
    finding = check_gpu(Gpus(system="Windows", cards=1, driver=Driver(NO_FILE, loaded=False)))
    assert finding.status == "note" and "since 2.11" in finding.message
    assert "wsl --install" in str(finding.remedy) and INSTALL_GPU in str(finding.remedy)


@pytest.mark.parametrize(("visible", "hidden"), [("-1", True), ("", True), ("0", False)])
def test_hidden(visible, hidden):
    finding = check_gpu(Gpus(cards=1, driver=Driver("CUDA_ERROR_NO_DEVICE"), visible=visible))
    assert (finding.remedy == "unset CUDA_VISIBLE_DEVICES") == hidden


def test_a_build_without_cuda():
    finding = check_gpu(Gpus(cards=1, driver=WORKING, cuda_build=False))
    assert "tensorflow-cpu" in str(finding.remedy) and INSTALL_GPU in str(finding.remedy)
    finding = check_gpu(Gpus(cards=1, driver=WORKING, cuda_build=False, machine="aarch64"))
    assert "aarch64" in finding.message and "pip" not in str(finding.remedy)


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ({}, "sudo ubuntu-drivers install && sudo reboot"),
        ({"distribution": "debian"}, "nvidia.com/drivers"),
        ({"in_wsl": True}, "in Windows"),
        ({"in_container": True}, "--gpus all"),
    ],
)
def test_no_driver(place, remedy):
    error = f"libcuda.so.1: {NO_FILE}"
    finding = check_gpu(Gpus(cards=1, driver=Driver(error, loaded=False), **place))
    assert finding.status == "note" and error in finding.message
    assert remedy in str(finding.remedy)


@pytest.mark.parametrize(("cuda", "too_old"), [(11_040, True), (12_000, False), (13_010, False)])
def test_an_old_driver(cuda, too_old):
    gpus = Gpus(cards=1, driver=Driver(cuda=cuda, gpus=1), log=log_of("libcudnn.so.9"))
    finding = check_gpu(gpus)
    assert ("525" in str(finding.remedy)) == too_old
    assert ("CUDA 11.4" in finding.message) == too_old


@pytest.mark.parametrize(
    ("error", "place", "remedy"),
    [
        ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", {}, "sudo reboot"),
        ("CUDA_ERROR_NO_DEVICE", {"in_container": True}, "--gpus all"),
        ("CUDA_ERROR_UNKNOWN", {}, "sudo modprobe nvidia_uvm"),
        ("CUDA_ERROR_UNKNOWN", {"in_wsl": True}, "wsl --shutdown"),
    ],
)
def test_a_driver_that_fails(error, place, remedy):
    finding = check_gpu(Gpus(cards=1, driver=Driver(error, cuda=12_050), **place))
    assert finding.status == "note" and error in finding.message
    assert remedy in str(finding.remedy)


def test_a_driver_that_fails_is_named_where_no_card_is_listed():
    assert check_gpu(Gpus(driver=Driver("CUDA_ERROR_UNKNOWN"))).status == "note"


def test_missing_libraries_are_named_with_the_command_that_installs_them():
    log = log_of("libcudart.so.12", "libcudnn.so.9")
    finding = check_gpu(Gpus(cards=1, driver=WORKING, log=log))
    assert finding.message == "not used: TensorFlow cannot load libcudart.so.12, libcudnn.so.9"
    assert finding.remedy == INSTALL_GPU


def test_a_damaged_library_is_told_from_a_missing_one():
    finding = check_gpu(
        Gpus(cards=1, driver=WORKING, log=log_of("libcudnn.so.9", reason="file too short"))
    )
    assert finding.message.endswith("libcudnn.so.9 (file too short)")


def test_a_library_that_tensorflow_does_not_find_where_pip_put_it():
    """TensorFlow 2.21 knows the folders of all the others, and not that of cuSOLVER."""
    folder = Path("/venv/site-packages/nvidia/cusolver/lib")
    folders = {"libcusolver.so.11": folder, "libcudnn.so.9": folder.parents[1] / "cudnn/lib"}
    finding = check_gpu(
        Gpus(cards=1, driver=WORKING, log=log_of("libcusolver.so.11"), library_folders=folders)
    )
    assert finding.remedy == f"export LD_LIBRARY_PATH={folder}:$LD_LIBRARY_PATH"
    log = log_of("libcusolver.so.11", "libcufft.so.11")
    finding = check_gpu(Gpus(cards=1, driver=WORKING, log=log, library_folders=folders))
    assert finding.remedy == INSTALL_GPU


def test_no_known_reason():
    finding = check_gpu(Gpus(cards=1, driver=WORKING))
    assert "TF_CPP_MIN_LOG_LEVEL=0" in str(finding.remedy)


def test_what_tensorflow_can_do_without_is_not_missing():
    optional = ("libnvinfer.so.8", "libcupti.so.12", "libcuda.so.1")
    assert list(missing_libraries(log_of(*optional, "libcufft.so.11"))) == ["libcufft.so.11"]
    assert missing_libraries("") == {}


class TestFacts:
    def card(self, folder: Path, vendor: str, kind: str) -> None:
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")

    def test_cards_on_the_bus(self, tmp_path):
        bus = tmp_path / "devices"
        self.card(bus / "0", "0x10de", "0x030000")  # a display
        self.card(bus / "1", "0x10de", "0x030200")  # a data centre's, without one
        self.card(bus / "2", "0x10de", "0x040300")  # its sound
        self.card(bus / "3", "0x1002", "0x030000")  # another maker's
        (bus / "4").mkdir()
        assert count_cards(bus, wsl=tmp_path / "none") == 2

    def test_a_card_inside_windows(self, tmp_path, monkeypatch):
        (tmp_path / "dxg").touch()
        for found, count in (("/usr/lib/wsl/lib/nvidia-smi", 1), (None, 0)):
            monkeypatch.setattr("shutil.which", lambda name, found=found: found)
            assert count_cards(tmp_path / "none", wsl=tmp_path / "dxg") == count

    def test_libraries_of_pip(self, tmp_path):
        library = tmp_path / "nvidia/cudnn/lib/libcudnn.so.9"
        library.parent.mkdir(parents=True)
        library.touch()
        assert pip_libraries(tmp_path) == {"libcudnn.so.9": library.parent}

    def test_no_driver(self, monkeypatch):
        def missing(name):
            raise OSError(f"{name}: {NO_FILE}")

        monkeypatch.setattr(ctypes, "CDLL", missing)
        assert ask_driver() == Driver(f"libcuda.so.1: {NO_FILE}", loaded=False)

    @pytest.mark.parametrize("code", [0, 803])
    def test_a_driver(self, monkeypatch, code):
        class Library:
            def cuDriverGetVersion(self, version):
                version._obj.value = 12_040
                return 0

            def cuInit(self, flags):
                return code

            def cuDeviceGetCount(self, count):
                count._obj.value = 2
                return 0

            def cuGetErrorName(self, code, name):
                name._obj.value = b"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
                return 0

        monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
        error = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" if code else None
        assert ask_driver() == Driver(error, cuda=12_040, gpus=0 if code else 2)
