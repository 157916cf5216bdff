"""What the doctor says of Python, packages, the checkout and TensorFlow's end."""

import signal
import sys
from pathlib import Path

import pytest

from tfcamp.doctor.installation import (
    INSTALL,
    INSTALL_TPU,
    NEW_ENVIRONMENT,
    check_ending,
    check_imports,
    check_packages,
    check_plugins,
    check_project,
    check_python,
    check_tensorboard,
    check_tensorflow,
    prefix_of_python,
)

SUPPORTED = ">=3.11,<3.14"


class TestPython:
    def check(self, version="3.12.1", found="/my env"):
        return check_python(SUPPORTED, found=found, prefix="/my env", version=version)

    @pytest.mark.parametrize("version", ["3.11.0", "3.13.9"])
    def test_supported(self, version):
        assert self.check(version).status == "ok"

    @pytest.mark.parametrize("version", ["3.10.12", "3.14.0rc1", "3.14.0"])
    def test_unsupported(self, version):
        finding = self.check(version)
        assert finding.status == "problem"
        assert finding.message == f"{version}, but tfcamp needs {SUPPORTED}"
        assert NEW_ENVIRONMENT in str(finding.remedy)

    @pytest.mark.parametrize("found", ["/usr", None])
    def test_another_python_would_run_the_scripts(self, found):
        finding = self.check(found=found)
        assert finding.status == "problem" and "/my env" in finding.message
        assert finding.remedy == f"export PATH={Path(sys.executable).parent}:$PATH"

    def test_an_environment_that_is_not_active(self, tmp_path):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/activate").touch()
        finding = check_python(SUPPORTED, found="/usr", prefix=str(tmp_path), version="3.12.1")
        assert finding.remedy == f". {tmp_path}/bin/activate"

    def test_the_python_of_the_shell(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
        assert prefix_of_python() == sys.prefix
        monkeypatch.setenv("PATH", str(tmp_path))
        assert prefix_of_python() is None
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho /elsewhere\n")  # a shim, as pyenv has them
        python.chmod(0o755)
        assert prefix_of_python() == "/elsewhere"


class TestPackages:
    requirements = ("numpy>=1.26", "tensorflow>=2.20,<2.22", 'gradio>=5; extra == "demo"')

    def check(self, **versions):
        named = {name.replace("_", "-"): version for name, version in versions.items()}
        return check_packages(self.requirements, named.get)

    def test_all_there_without_the_extras(self):
        finding = self.check(numpy="2.4", tensorflow="2.21.0")
        assert (finding.status, finding.message) == ("ok", "all 2 that tfcamp needs")

    @pytest.mark.parametrize("package", ["tensorflow", "tensorflow_cpu", "tensorflow_tpu"])
    def test_each_package_that_is_tensorflow_will_do(self, package):
        assert self.check(numpy="2.4", **{package: "2.20.0"}).status == "ok"

    def test_missing_and_wrong(self):
        finding = self.check(tensorflow="2.19.1")
        assert finding.status == "problem"
        assert finding.message == "numpy is missing, tensorflow is 2.19.1, not <2.22,>=2.20"
        assert finding.remedy == INSTALL

    def test_many_are_counted(self):
        finding = check_packages([f"p{i}" for i in range(9)], lambda name: None)
        assert finding.message == "p0 is missing, p1 is missing, p2 is missing and 6 more"

    def test_tfcamp_itself(self):
        assert check_packages(None).message == "tfcamp is not installed"

    def test_of_this_environment(self):
        assert check_packages(["numpy", "pytest"]).status == "ok"


class TestTensorFlow:
    def test_kinds(self):
        one = {"tensorflow": "2.21.0"}
        assert check_tensorflow("2.21.0", "CUDA 12.5.1, cuDNN 9", one).message == (
            "2.21.0, built for CUDA 12.5.1, cuDNN 9"
        )
        assert check_tensorflow("2.21.0", "", one).message == "2.21.0, built for CPUs"

    def test_two_in_one_place(self):
        finding = check_tensorflow("2.20.0", "", {"tensorflow": "2.21", "tensorflow-cpu": "2.20"})
        assert finding.status == "note"
        assert finding.remedy == f"pip uninstall -y tensorflow tensorflow-cpu && {INSTALL}"

    def test_the_tpu_package_beside_the_ordinary_one(self):
        finding = check_tensorflow("2.20.0", "", {"tensorflow": "2.21", "tensorflow-tpu": "2.20"})
        assert INSTALL_TPU in str(finding.remedy)

    def test_plugins_and_tensorboard(self):
        assert check_plugins({}).message == "none"
        assert check_plugins({"libtpu": "0.0.1"}).message == "libtpu 0.0.1"
        assert check_tensorboard("2.21.0").status == "ok"
        assert check_tensorboard(None).remedy == INSTALL


class TestProject:
    @pytest.fixture
    def checkout(self, tmp_path):
        return self.make(tmp_path / "a checkout")

    def make(self, folder: Path) -> Path:
        (folder / "projects/news").mkdir(parents=True)
        (folder / "projects/news/train.py").touch()
        return folder

    def test_here(self, checkout):
        assert check_project(checkout, checkout).status == "ok"

    def test_elsewhere(self, checkout, tmp_path):
        finding = check_project(checkout, tmp_path)
        assert (finding.status, finding.remedy) == ("problem", f"cd '{checkout}'")

    def test_another_checkout_is_imported(self, checkout, tmp_path):
        other = self.make(tmp_path / "other")
        finding = check_project(checkout, other)
        assert (finding.status, finding.remedy) == ("note", INSTALL)
        assert str(checkout) in finding.message

    def test_installed_without_the_checkout(self, checkout, tmp_path):
        finding = check_project(None, checkout)
        assert (finding.status, finding.remedy) == ("problem", INSTALL)
        assert "without -e" in finding.message
        assert check_project(None, tmp_path).status == "problem"


class TestImports:
    def test_all_there(self):
        assert check_imports(None).status == "ok"

    @pytest.mark.parametrize(
        ("error", "remedy"),
        [
            ("ModuleNotFoundError: No module named 'sklearn'", INSTALL),
            (
                "NotFoundError: dlopen(/x/tensorflow-plugins/libmetal_plugin.dylib, 0x0006): "
                "Symbol not found",
                "pip uninstall -y tensorflow-metal",
            ),
            ("ImportError: numpy.core.multiarray failed to import", NEW_ENVIRONMENT),
        ],
    )
    def test_the_cause_decides_what_mends_it(self, error, remedy):
        finding = check_imports(error)
        assert (finding.status, finding.remedy) == ("problem", remedy)
        assert finding.message == f"python projects/news/train.py cannot start: {error}"


class TestEnding:
    def check(self, exit_status):
        return check_ending(exit_status, "while it was imported")

    def test_a_processor_that_is_too_old(self):
        assert "AVX" in self.check(-signal.SIGILL).message

    def test_too_little_memory(self):
        assert "memory" in self.check(-signal.SIGKILL).message

    def test_other_crashes(self):
        assert self.check(-signal.SIGSEGV).message == "it crashed while it was imported (SIGSEGV)"
        assert "exit status 3" in self.check(3).message

    def test_no_end(self):
        assert "CUDA_VISIBLE_DEVICES=-1" in str(self.check(None).remedy)
