"""What the doctor says of memory, disks, the font, the output and the other workers."""

from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager

from tests.disk import full_disk
from tfcamp.doctor.installation import INSTALL_TPU
from tfcamp.doctor.machine import (
    Folder,
    cache_folders,
    check_caches,
    check_font,
    check_memory,
    check_output,
    check_run_folder,
    check_strategy,
    check_temporary_folder,
    free_memory,
    look_at_folder,
    temporary_folder,
)
from tfcamp.doctor.probe import missing_font

GB = 10**9
RUNS = Path("/data/runs")


class TestMemory:
    @pytest.mark.parametrize(("free", "status"), [(8, "ok"), (2, "note"), (0.5, "problem")])
    def test_grades(self, free, status):
        assert check_memory(int(free * GB), 8 * GB).status == status

    def test_a_container_s_limit_counts(self, tmp_path):
        (tmp_path / "memory.max").write_text("300000000\n")
        (tmp_path / "memory.current").write_text("100000000\n")
        (tmp_path / "memory.stat").write_text("anon 60000000\ninactive_file 40000000\n")
        # What is only a file's copy makes room when it is asked to.
        assert free_memory(tmp_path) == (240_000_000, 300_000_000)
        (tmp_path / "memory.current").write_text("400000000\n")
        assert free_memory(tmp_path)[0] == 0

    def test_no_limit(self, tmp_path):
        without = free_memory(tmp_path / "none")
        (tmp_path / "memory.max").write_text("max\n")
        (tmp_path / "memory.current").write_text("100000000\n")
        assert free_memory(tmp_path)[1] == without[1] > 0


class TestFolders:
    @pytest.mark.parametrize(("free", "status"), [(8, "ok"), (1, "note"), (0.05, "problem")])
    def test_the_disk_of_the_runs(self, free, status):
        assert check_run_folder(Folder(RUNS, int(free * GB))).status == status

    def test_runs_that_cannot_be_written(self):
        finding = check_run_folder(Folder(RUNS, 8 * GB, "Read-only file system"))
        assert finding.status == "problem"
        assert finding.message == "/data/runs cannot be written: Read-only file system"
        assert "--run-dir" in str(finding.remedy)

    def test_temporary_files(self):
        assert check_temporary_folder(Folder(Path("/tmp"), 8 * GB)).status == "ok"
        assert check_temporary_folder(Folder(Path("/tmp"), 0)).status == "note"
        finding = check_temporary_folder(Folder(Path("/tmp"), 0, "Permission denied"))
        assert finding.status == "problem" and "TMPDIR" in str(finding.remedy)

    def test_no_temporary_folder_at_all(self, monkeypatch):
        def nowhere():
            raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

        monkeypatch.setattr("tempfile.gettempdir", nowhere)
        assert "No usable" in str(temporary_folder().error)

    def test_caches(self):
        good, bad = Folder(RUNS, GB), Folder(Path("/home/me/data"), GB, "Permission denied")
        assert check_caches({"TFDS_DATA_DIR": good, "MPLCONFIGDIR": good}).status == "ok"
        finding = check_caches({"TFDS_DATA_DIR": bad, "MPLCONFIGDIR": good})
        assert finding.status == "note"
        assert "/home/me/data" in finding.message and "TFDS_DATA_DIR" in str(finding.remedy)

    def test_where_the_caches_are(self):
        environ = {"TFDS_DATA_DIR": "/data", "XDG_CACHE_HOME": "/cache"}
        assert cache_folders(environ) == {
            "TFDS_DATA_DIR": Path("/data"),
            "MPLCONFIGDIR": Path("/cache/matplotlib"),
        }


class TestLookAtFolder:
    def test_one_that_will_be_made(self, tmp_path):
        folder = look_at_folder(tmp_path / "not" / "yet")
        assert folder.error is None and folder.free > 0
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_its_place(self, tmp_path):
        (tmp_path / "runs").touch()
        assert look_at_folder(tmp_path / "runs").error == "Not a directory"

    def test_a_full_disk(self, tmp_path):
        with full_disk(0):
            assert look_at_folder(tmp_path).error == "File too large"

    def test_no_permission(self, tmp_path, monkeypatch):
        def refuse(**options):
            raise PermissionError(13, "Permission denied", str(options["dir"]))

        monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
        assert look_at_folder(tmp_path).error == "Permission denied"


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("utf-8", "ok"), ("gb18030", "ok"), ("ascii", "problem"), (None, "problem"), ("?", "problem")],
)
def test_output(encoding, status):
    assert check_output(encoding).status == status


class TestFont:
    def test_found(self):
        assert check_font(None).status == "ok"

    def test_missing_as_a_figure_says_it(self, monkeypatch):
        own = str(Path(matplotlib.get_data_path()))
        fonts = [it for it in font_manager.fontManager.ttflist if it.fname.startswith(own)]
        monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
        finding = check_font(missing_font())
        assert (finding.status, finding.remedy) == ("note", "apt install fonts-noto-cjk")
        assert finding.message.startswith("no font found for Chinese text")

    def test_a_font_that_lacks_some(self):
        finding = check_font("no font here has all of 类: no PNG of this figure, but its SVG")
        assert finding.status == "note" and "install a font" in str(finding.remedy)


class TestStrategy:
    def check(self, name="MirroredStrategy", replicas=2, **options):
        options = {"workers": 1, "error": None, "installed": ["tensorflow"], **options}
        return check_strategy(name, replicas, **options)

    def test_chosen(self):
        assert self.check().message == "MirroredStrategy, 2 replicas"
        assert self.check("_DefaultDistributionStrategy", 1).message == "one device"
        assert self.check("TPUStrategy", 8, installed=["tensorflow-tpu"]).status == "ok"

    def test_a_tpu_without_its_tensorflow(self):
        finding = self.check("", 0, error="--strategy tpu: no TPU answers as 'local'")
        assert (finding.status, finding.remedy) == ("problem", INSTALL_TPU)

    def test_a_tpu_that_does_not_answer(self):
        error = "--strategy tpu: no TPU answers as 'local'"
        finding = self.check("", 0, error=error, installed=["tensorflow-tpu"])
        assert (finding.status, finding.message) == ("problem", error)
        assert "TPU_NAME" in str(finding.remedy)

    def test_the_tpu_s_tensorflow_without_a_tpu(self):
        finding = self.check("_DefaultDistributionStrategy", 1, installed=["tensorflow-tpu"])
        assert finding.status == "note" and "2.20" in finding.message

    def test_workers(self):
        finding = self.check("_DefaultDistributionStrategy", 1, workers=3)
        assert finding.status == "note" and "3 workers" in finding.message
        finding = self.check("", 0, error="TF_CONFIG: not JSON")
        assert finding.status == "problem" and "unset TF_CONFIG" in str(finding.remedy)
