"""The doctor as a whole: what it prints, what it returns, and what TensorFlow cannot do to it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tfcamp import doctor
from tfcamp.doctor import Probe, examine_tensorflow, run_doctor, run_probe
from tfcamp.doctor.findings import Finding, note, ok, problem
from tfcamp.doctor.gpu import INSTALL_GPU, ON_CPU
from tfcamp.doctor.installation import NEW_ENVIRONMENT
from tfcamp.doctor.speed import check_failure, check_speeds

ROOT = Path(__file__).parents[2]
SEVEN = "libcudart libcublas libcublasLt libcufft libcusolver libcusparse libcudnn".split()
# What a probe tells of a machine without GPUs.
FACTS = {
    "stage": None,
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "cuda_build": True,
    "cuda": "12.5.1",
    "cudnn": "9",
    "strategy": "_DefaultDistributionStrategy",
    "replicas": 1,
    "workers": 1,
    "devices": ["CPU:0"],
    "gpus": [],
    "driver": {"error": "libcuda.so.1: no such file", "loaded": False, "cuda": 0, "gpus": 0},
    "environment": {"python": "3.12.1"},
    "font": None,
    "device": "CPU:0",
    "matrix": 8e10,
    "words": 4e4,
    "input": 2e5,
    "training": 4e3,
}


def names_of(findings, status="problem") -> list[str]:
    return [finding.name for finding in findings if finding.status == status]


class TestFindings:
    def test_what_is_not_ok_has_a_remedy(self):
        with pytest.raises(ValueError, match="remedy None"):
            Finding("disk", "problem", "full")
        with pytest.raises(ValueError, match="'make room'"):
            Finding("disk", "ok", "empty", "make room")

    @pytest.mark.parametrize("width", [80, 120])
    def test_lines_fit_and_commands_stay_whole(self, width):
        finding = problem("imports", "no " * 60, NEW_ENVIRONMENT + " # " + "x" * 100)
        *message, remedy = finding.lines(width)
        assert len(message) > 1 and max(map(len, message)) <= width
        assert remedy.strip() == f"-> {finding.remedy}"
        path = "/home" + "/folder" * 20
        assert any(line.split()[-1] == path for line in ok("run", f"in {path}").lines(width))


class TestPrinting:
    @pytest.fixture
    def examine(self, monkeypatch):
        """Makes the doctor find what a test wants."""

        def examine(machine, tensorflow=(), facts=FACTS):
            monkeypatch.setattr(doctor, "examine_machine", lambda *args: iter(machine))
            monkeypatch.setattr(doctor, "examine_tensorflow", lambda probe: iter(tensorflow))
            monkeypatch.setattr(doctor, "run_probe", lambda *args, **options: Probe(dict(facts)))

        return examine

    def test_all_well(self, examine, capsys):
        examine([ok("disk", "80 GB free")], [note("gpu", "not used", "pip install it")])
        assert run_doctor() == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["ok", "disk", "80", "GB", "free"]
        assert lines[-1] == "python projects/news/train.py will run"

    def test_a_problem_names_itself_and_ends_with_1(self, examine, capsys):
        examine([ok("python", "3.12"), problem("disk", "full", "make room")])
        assert run_doctor() == 1
        out = capsys.readouterr().out
        assert out.splitlines()[-1] == "python projects/news/train.py would fail, see disk"
        assert "-> make room" in out

    @pytest.mark.parametrize("status", [0, 1])
    def test_json_is_one_object_and_nothing_else(self, examine, capsys, status):
        examine([problem("disk", "满", "make room")] if status else [ok("disk", "空")])
        assert run_doctor(json=True) == status
        out, err = capsys.readouterr()
        report = json.loads(out)
        assert err == "" and out.count("\n") == 1
        assert report["ok"] == (status == 0)
        assert report["findings"][0]["name"] == "disk"
        assert report["findings"][0]["remedy"] == ("make room" if status else None)
        assert report["speeds"] == {"matrix": 8e10, "words": 4e4, "input": 2e5, "training": 4e3}
        assert report["environment"] == {"python": "3.12.1"}

    def test_without_temporary_files_tensorflow_is_left_alone(self, examine, monkeypatch):
        examine([problem("temporary", "bad", "mend it")])

        def fail(*args, **options):
            raise AssertionError("must not run")

        monkeypatch.setattr(doctor, "run_probe", fail)
        assert run_doctor(json=True) == 1


class TestTensorFlow:
    def test_a_good_machine(self):
        findings = list(examine_tensorflow(Probe(FACTS)))
        assert {finding.status for finding in findings} == {"ok"}
        assert [finding.name for finding in findings][-3:] == ["matrices", "input", "training"]

    def test_without_the_speed_tests(self):
        facts = {key: value for key, value in FACTS.items() if key not in ("matrix", "training")}
        names = [finding.name for finding in examine_tensorflow(Probe(facts))]
        assert "training" not in names and "font" in names

    def test_an_import_that_fails(self):
        facts = {"stage": None, "import_error": "ImportError: no"}
        assert names_of(examine_tensorflow(Probe(facts))) == ["imports"]

    @pytest.mark.parametrize("exit_status", [None, -signal.SIGSEGV, 1])
    def test_an_end_that_was_not_meant(self, exit_status):
        facts = {**FACTS, "stage": "while it trained for a moment"}
        findings = list(examine_tensorflow(Probe(facts, exit_status=exit_status)))
        assert names_of(findings) == ["tensorflow"]
        assert "while it trained for a moment" in findings[-1].message

    def test_an_error_while_training(self):
        facts = {**FACTS, "stage": "while it trained for a moment", "failure": "InternalError: x"}
        assert names_of(examine_tensorflow(Probe(facts))) == ["training"]

    @pytest.mark.parametrize(
        ("failure", "on_gpu", "library_path", "remedy"),
        [
            ("InternalError: CUDA_ERROR_INVALID_PTX", True, None, f"without the GPU: {ON_CPU}"),
            ("FailedPreconditionError: DNN library initialization failed", True, None, INSTALL_GPU),
            ("InternalError: CuDNN 9.0 was loaded", True, "/usr/lib", "unset LD_LIBRARY_PATH"),
            ("InternalError: x", False, None, NEW_ENVIRONMENT),
        ],
    )
    def test_what_mends_an_error(self, failure, on_gpu, library_path, remedy):
        finding = check_failure(failure, stage="now", on_gpu=on_gpu, library_path=library_path)
        assert finding.status == "problem" and failure in finding.message
        assert str(finding.remedy).startswith(remedy)

    def test_an_input_that_is_too_slow(self):
        assert names_of(check_speeds({**FACTS, "input": 1e3}), "note") == ["input"]


class TestProbe:
    """The other process, with training scripts that need no TensorFlow."""

    @pytest.fixture
    def probe(self, tmp_path):
        def probe(script: str, **options) -> Probe:
            path = tmp_path / "projects/news/train.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(script))
            return run_probe(tmp_path, **{"seconds": 0, **options})

        return probe

    def test_what_an_import_raises_is_told(self, probe):
        result = probe("import sys\nprint('a', file=sys.stderr)\nimport no_such_module")
        assert result.exit_status == 0
        error = "ModuleNotFoundError: No module named 'no_such_module'"
        assert (result.facts["import_error"], result.log) == (error, "a\n")
        assert names_of(examine_tensorflow(result)) == ["imports"]

    def test_a_crash_is_told(self, probe):
        result = probe("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
        assert result.exit_status == -signal.SIGILL
        assert "AVX" in list(examine_tensorflow(result))[-1].message

    def test_a_process_that_hangs_is_given_up(self, probe):
        result = probe("import threading\nthreading.Event().wait()", patience=1)
        assert result.exit_status is None
        assert "no answer" in list(examine_tensorflow(result))[-1].message

    def test_the_main_of_the_script_is_not_run(self, probe):
        result = probe("if __name__ == '__main__':\n    raise ValueError\nimport no_such_module")
        assert "no_such_module" in result.facts["import_error"]


def run_for_real(*arguments: str, **environ: str) -> tuple[int, dict]:
    program = "from tfcamp.cli import main; main()"
    folder = str(Path(sys.executable).parent)
    answer = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **environ},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return answer.returncode, json.loads(answer.stdout)


@pytest.mark.slow
def test_this_machine():
    status, report = run_for_real("--seconds", "1")
    assert status == 0 and report["ok"]
    assert all(report["speeds"][name] > 0 for name in ("matrix", "words", "input", "training"))
    names = {finding["name"] for finding in report["findings"]}
    assert {"python", "packages", "tensorflow", "gpu", "font", "cache", "training"} <= names


@pytest.mark.slow
def test_an_output_that_cannot_be_printed_to_is_still_printed_to():
    status, report = run_for_real("--seconds", "0", PYTHONIOENCODING="ascii")
    assert status == 1
    problems = [it["name"] for it in report["findings"] if it["status"] == "problem"]
    assert problems == ["output"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="TensorFlow loads CUDA on Linux only")
def test_a_gpu_without_libraries(tmp_path):
    """TensorFlow is given a driver that answers for one GPU, and names what it misses."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    (tmp_path / "driver.c").write_text(DRIVER)
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        library = str(tmp_path / name)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True
        )
    status, report = run_for_real(
        "--seconds", "0", LD_LIBRARY_PATH=str(tmp_path), CUDA_VISIBLE_DEVICES="0"
    )
    (finding,) = [it for it in report["findings"] if it["name"] == "gpu"]
    assert (status, finding["status"], finding["remedy"]) == (0, "note", INSTALL_GPU)
    assert all(f"{name}.so." in finding["message"] for name in SEVEN)


# What TensorFlow 2.21 asks a driver before it looks for the libraries.
DRIVER = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = 12050; return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDeviceGetName(char* name, int size, int device) { strncpy(name, "RTX", size); return 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = 8ull << 30; return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 1;  /* compute capability 8.6 */
  return 0;
}
int cuGetErrorName(int error, const char** name) { *name = "CUDA_ERROR_UNKNOWN"; return 0; }
int cuGetErrorString(int error, const char** text) { *text = "unknown"; return 0; }
int nvmlInit_v2(void) { return 0; }
"""
