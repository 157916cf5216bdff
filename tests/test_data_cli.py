"""``tfcamp data list``, ``fetch`` and ``check`` as a user gives them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.data.local_host import serve
from tests.disk import memory_bucket
from tfcamp import cli
from tfcamp.data.datasets.tatoeba import upstream

Run = Callable[..., tuple[int, str, str]]
ARCHIVE = Path(upstream.__file__).with_name("dummy_data") / upstream.ARCHIVE


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and returns (exit status, stdout, stderr)."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tfcamp", "data", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        status = caught.value.code
        assert status is None or isinstance(status, int)
        out, err = capsys.readouterr()
        return status or 0, out, err

    return run


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Serves tatoeba's made-up archive."""
    folder = tmp_path_factory.mktemp("host")
    (folder / upstream.ARCHIVE).write_bytes(ARCHIVE.read_bytes())
    with serve(folder, monkeypatch) as address:
        monkeypatch.setattr(upstream, "HOMEPAGE", address)
        yield folder


@pytest.fixture(autouse=True)
def tfds_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def put_tatoeba(data_dir: Path) -> None:
    (data_dir / "tatoeba").mkdir(parents=True)
    (data_dir / "tatoeba" / upstream.ARCHIVE).write_bytes(ARCHIVE.read_bytes())


def where_is(name: str, out: str) -> str:
    """What the list says of the place of a data set: the line before the next name."""
    lines = out.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.startswith(f"  {name} "))
    following = (line for line in lines[start + 1 :] if line.startswith(" " * 22))
    return list(zip(range(2), following, strict=False))[-1][1].strip()


class TestList:
    def test_where_everything_is(self, run: Run, tmp_path: Path) -> None:
        put_tatoeba(tmp_path)
        status, out, err = run("list", "--data-dir", tmp_path)
        assert (status, err) == (0, "")
        assert where_is("tatoeba", out) == f"in {tmp_path / 'tatoeba'}"
        assert where_is("reverse", out) == "comes with tfcamp"
        fetch = f"not here: tfcamp data fetch thucnews --data-dir {tmp_path}"
        assert where_is("thucnews", out) == fetch
        assert where_is("tianchi_news", out).startswith("not here: sign in at https://tianchi")

    def test_tfds_folder(self, run: Run, tmp_path: Path, tfds_folder: Path) -> None:
        put_tatoeba(tfds_folder)
        assert where_is("tatoeba", run("list")[1]) == f"in {tfds_folder / 'tatoeba'}"
        assert where_is("thucnews", run("list")[1]) == "not here: tfcamp data fetch thucnews"
        told = f"in {tfds_folder / 'tatoeba'}, which is TFDS's folder: leave --data-dir out"
        assert where_is("tatoeba", run("list", "--data-dir", tmp_path / "mine")[1]) == told

    def test_lines_that_do_not_name_a_folder_fit_a_terminal(self, run: Run) -> None:
        lines = run("list")[1].splitlines()
        assert max(len(line) for line in lines if "not here" not in line) <= 80


class TestFetch:
    def test_files_and_the_next_command(self, run: Run, tmp_path: Path, host: Path) -> None:
        data_dir = tmp_path / "my data"
        status, out, err = run("fetch", "tatoeba", "--data-dir", data_dir)
        assert status == 0
        assert out.splitlines() == [
            f"tatoeba has come: {data_dir / 'tatoeba'} (CC-BY 2.0 FR)",
            "",
            f"python projects/translation/train.py --dataset tatoeba --data-dir '{data_dir}'",
        ]
        assert "cmn-eng.zip: 100%" in err
        content = (data_dir / "tatoeba" / upstream.ARCHIVE).read_bytes()
        assert content == ARCHIVE.read_bytes()
        (host / upstream.ARCHIVE).unlink()
        status, out, err = run("fetch", "tatoeba", "--data-dir", data_dir)
        assert (status, err) == (0, "") and out.startswith("tatoeba is there already: ")

    def test_without_a_folder_it_is_tfds(self, run: Run, host: Path, tfds_folder: Path) -> None:
        status, out, _ = run("fetch", "tatoeba")
        assert status == 0 and out.endswith("train.py --dataset tatoeba\n")
        assert (tfds_folder / "tatoeba" / upstream.ARCHIVE).is_file()

    def test_a_download_that_breaks_off(self, run: Run, tmp_path: Path, host: Path) -> None:
        cut = host / f"{upstream.ARCHIVE}.cut"
        cut.touch()
        status, out, err = run("fetch", "tatoeba", "--data-dir", tmp_path)
        assert (status, out) == (2, "")
        (told,) = (line for line in err.splitlines() if line.startswith("error: "))
        assert "the connection broke at" in told and "try again, which goes on" in told
        cut.unlink()
        status, out, _ = run("fetch", "tatoeba", "--data-dir", tmp_path)
        assert status == 0 and out.startswith("tatoeba has come")

    def test_what_is_not_upstreams_is_said(self, run: Run, tmp_path: Path) -> None:
        put_tatoeba(tmp_path)
        (tmp_path / "tatoeba" / upstream.ARCHIVE).write_text("<html>")
        status, out, _ = run("fetch", "tatoeba", "--data-dir", tmp_path)
        assert status == 0 and "not upstream's file: cmn-eng.zip: " in out

    def test_what_comes_with_tfcamp(self, run: Run) -> None:
        status, out, _ = run("fetch", "reverse")
        assert status == 0 and out.startswith("reverse comes with tfcamp: there is nothing to")

    def test_mistakes_are_one_line(self, run: Run, tmp_path: Path) -> None:
        for arguments, told in (
            (["fetch", "tatoebo"], "unknown data set 'tatoebo': did you mean 'tatoeba'?"),
            (["fetch", "street_view", "--data-dir", tmp_path], "street_view: put train, val and"),
            (["fetch", "tatoeba", "--data-dir", "gs://bucket/data"], "--data-dir gs://bucket/data"),
        ):
            status, out, err = run(*arguments)
            assert (status, out) == (2, "") and err.count("\n") == 1
            assert err.startswith(f"error: {told}")


TRAIN = "".join(f"第{number:03d}条\t{'体育' if number % 2 else '财经'}\n" for number in range(40))


class TestCheck:
    def test_nothing_found(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "train.tsv").write_text(TRAIN, "utf-8")
        dev = "".join(
            f"{number}\t{'体育' if number % 2 else '财经'}\n" for number in range(100, 200)
        )
        (tmp_path / "dev.tsv").write_text(dev, "utf-8")
        status, out, err = run("check", tmp_path)
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            f"{tmp_path}: labelled texts, as projects/news reads them",
            "",
            "  rows  empty  repeated  median  95 %  max  (characters)",
            "    40      0         0       5     5    5  train",
            "   100      0         0       3     3    3  dev",
            "",
            "  train  dev  class",
            "     20   50  体育",
            "     20   50  财经",
            "",
            "nothing was found that would harm training:",
            f"python projects/news/train.py --dataset {tmp_path}",
        ]

    def test_findings(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "train.tsv").write_text(TRAIN, "utf-8")
        (tmp_path / "dev.tsv").write_text("第003条\t体育\n乙\t财经\n", "utf-8")
        status, out, err = run("check", tmp_path)
        assert (status, err) == (1, "")
        assert out.endswith(
            "\nfindings\n  dev: 1 of 2 texts stand in train as well, such as '第003条'; take them "
            "out of train\n"
        )

    def test_another_encoding(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "my.tsv"
        path.write_bytes(("text\tlabel\n" + TRAIN).encode("gb18030"))
        status, out, err = run("check", path)
        assert (status, out) == (2, "")
        assert err == (
            f"error: {path}:2: not UTF-8 at byte 11 (0xb5); it looks like gb18030, convert it: "
            "iconv -f gb18030 -t utf-8 my.tsv > new.tsv\n"
        )

    def test_the_task_decides(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "my.tsv"
        path.write_text(TRAIN, "utf-8")
        options = ("--task", "translation", "--source", "ja", "--target", "zh")
        status, out, _ = run("check", path, *options)
        # Each of the two "translations" stands in all splits, which is told but harms nobody.
        assert out.startswith(f"{path}: sentence pairs, ja to zh, as projects/translation reads")
        assert status == 0
        assert out.endswith(f"train.py --dataset {path} --source ja --target zh\n")

    def test_a_folder_that_is_called_like_a_known_set(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "sample"
        folder.mkdir()
        (folder / "train.tsv").write_text(TRAIN, "utf-8")
        (folder / "dev.tsv").write_text("甲\t体育\n乙\t财经\n", "utf-8")
        monkeypatch.chdir(tmp_path)
        status, out, _ = run("check", "sample")
        assert status == 0 and "    40      0         0 " in out
        assert out.endswith("--dataset ./sample\n")

    def test_files_in_a_bucket(self, run: Run) -> None:
        with memory_bucket() as bucket:
            (bucket / "my.tsv").write_text(TRAIN)
            address = str(bucket / "my.tsv")
            status, out, _ = run("check", address)
        assert status == 0 and out.startswith(f"{address}: labelled texts")

    def test_no_such_file(self, run: Run, tmp_path: Path) -> None:
        status, out, err = run("check", tmp_path / "nowhere.tsv")
        expected = f"error: {tmp_path / 'nowhere.tsv'}: no such file or folder\n"
        assert (status, out, err) == (2, "", expected)


@pytest.mark.parametrize("command", [["list"], ["check", "my.tsv"], ["fetch", "reverse"]])
def test_texts_do_not_wait_for_tensorflow(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "my.tsv").write_text(TRAIN, "utf-8")
    program = (
        "import sys; from tfcamp import data_cli\n"
        "try: data_cli.app.cli(args=sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('tensorflow' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.splitlines()[-1] == "False"
