"""Downloads: from a server that answers, breaks off, knows no ranges, or is not there."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.local_host import NO_HOST, serve
from tests.disk import full_disk
from tfcamp.data import locks
from tfcamp.data.downloads import DownloadError, download, fetch_files, local_files
from tfcamp.data.locks import one_at_a_time
from tfcamp.errors import UserError

# More than one block, all bytes different from their neighbours.
CONTENT = bytes(number % 251 for number in range(150_000))
HALF = len(CONTENT) // 2


class Host:
    """A folder that a local server serves, its address, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.asked: list[str] = []

    def fault(self, name: str) -> None:
        (self.folder / name).touch()


@pytest.fixture
def host(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Host]:
    """Serves a file ``a`` and a shorter one, ``b``."""
    host = Host(tmp_path_factory.mktemp("host"))
    (host.folder / "a").write_bytes(CONTENT)
    (host.folder / "b").write_bytes(b"short")
    with serve(host.folder, monkeypatch, host.asked) as host.address:
        yield host


def get(host: Host, folder: Path, part: bytes | None = None) -> bytes:
    """Downloads ``a`` into a folder, where a part of it may stand, and returns its content."""
    if part is not None:
        (folder / "a.part").write_bytes(part)
    download(f"{host.address}a", folder / "a")
    assert [path.name for path in folder.iterdir()] == ["a"]
    return (folder / "a").read_bytes()


def error_of(host: Host, folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        download(f"{host.address}a", folder / "a")
    assert not (folder / "a").exists()
    return str(caught.value)


class TestDownload:
    def test_a_whole_file(self, tmp_path: Path, host: Host) -> None:
        assert get(host, tmp_path) == CONTENT
        assert host.asked == ["a"]

    def test_only_what_lacks_is_sent(self, tmp_path: Path, host: Host) -> None:
        # A part that is not upstream's shows that it was not sent again.
        assert get(host, tmp_path, b"x" * 100) == b"x" * 100 + CONTENT[100:]
        assert host.asked == ["a bytes=100-"]

    def test_a_connection_that_breaks_is_taken_up(self, tmp_path: Path, host: Host) -> None:
        host.fault("a.cut_once")
        assert get(host, tmp_path) == CONTENT
        assert host.asked == ["a", f"a bytes={HALF}-"]

    def test_one_that_brings_nothing_more_is_not(self, tmp_path: Path, host: Host) -> None:
        host.fault("a.cut")
        told = f"{host.address}a (the connection broke at 75,000 of 150,000 bytes)"
        assert error_of(host, tmp_path) == told
        assert (tmp_path / "a.part").read_bytes() == CONTENT[:HALF]
        (host.folder / "a.cut").unlink()
        host.asked.clear()
        assert get(host, tmp_path) == CONTENT
        assert host.asked == [f"a bytes={HALF}-"]

    def test_a_server_without_ranges(self, tmp_path: Path, host: Host) -> None:
        host.fault("a.no_ranges")
        assert get(host, tmp_path, b"x" * 100) == CONTENT

    def test_a_server_without_ranges_that_breaks_off(self, tmp_path: Path, host: Host) -> None:
        host.fault("a.no_ranges")
        host.fault("a.cut")
        assert "broke at 75,000 of 150,000" in error_of(host, tmp_path)
        assert host.asked == ["a", f"a bytes={HALF}-"]

    def test_a_server_that_sends_another_range(self, tmp_path: Path, host: Host) -> None:
        host.fault("a.wrong_range")
        assert get(host, tmp_path, b"x" * 100) == CONTENT
        assert host.asked == ["a bytes=100-", "a"]

    def test_a_part_that_is_the_whole(self, tmp_path: Path, host: Host) -> None:
        assert get(host, tmp_path, CONTENT) == CONTENT
        assert host.asked == [f"a bytes={len(CONTENT)}-"]

    def test_a_part_that_is_longer(self, tmp_path: Path, host: Host) -> None:
        part = b"x" * (len(CONTENT) + 1)
        (tmp_path / "a.part").write_bytes(part)
        told = f"sends 150,000 bytes, of which {tmp_path / 'a.part'} already has 150,001; remove it"
        assert told in error_of(host, tmp_path)
        assert (tmp_path / "a.part").read_bytes() == part

    def test_a_page_that_asks_to_sign_in_costs_no_part(self, tmp_path: Path, host: Host) -> None:
        (tmp_path / "a.part").write_bytes(CONTENT[:HALF])
        (host.folder / "a").write_text("<html>Please sign in</html>")
        host.fault("a.no_ranges")
        assert "sends 27 bytes" in error_of(host, tmp_path)
        assert (tmp_path / "a.part").read_bytes() == CONTENT[:HALF]

    def test_a_file_that_the_host_lacks(self, tmp_path: Path, host: Host) -> None:
        (host.folder / "a").unlink()
        assert error_of(host, tmp_path) == f"{host.address}a (HTTP Error 404: Not Found)"


class TestFetchFiles:
    FILES = ("a", "b")
    SHA256 = hashlib.sha256(CONTENT).hexdigest()

    def difference(self, name: str, path: Path) -> str | None:
        expected = self.SHA256 if name == "a" else hashlib.sha256(b"short").hexdigest()
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        return None if found == expected else f"{name} has sha256 {found[:12]}"

    def fetch(self, address: str, folder: Path) -> None:
        urls = {name: address + name for name in self.FILES}
        fetch_files("mine", folder, urls, self.difference)

    def error_of(self, address: str, folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            self.fetch(address, folder)
        assert not any((folder / name).exists() for name in self.FILES)
        message = str(caught.value)
        assert "\n" not in message
        return message

    def names_in(self, folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    def test_all_files(self, tmp_path: Path, host: Host) -> None:
        folder = tmp_path / "deeper/mine"
        self.fetch(host.address, folder)
        assert self.names_in(folder) == {"a", "b"}
        assert (folder / "a").read_bytes() == CONTENT
        host.asked.clear()
        self.fetch(host.address, folder)
        assert host.asked == []

    def test_no_network(self, tmp_path: Path) -> None:
        message = self.error_of(NO_HOST, tmp_path / "mine")
        assert message.startswith(f"mine: cannot download {NO_HOST}a (Connection refused); ")
        assert message.endswith(f"yourself: {tmp_path / 'mine/a'}, {tmp_path / 'mine/b'}")
        assert list(tmp_path.iterdir()) == []
        self.error_of(NO_HOST, tmp_path / "misspelt/mine")
        assert list(tmp_path.iterdir()) == []

    def test_the_second_file_breaks_off(self, tmp_path: Path, host: Host) -> None:
        host.fault("b.cut")
        folder = tmp_path / "mine"
        message = self.error_of(host.address, folder)
        assert f"{host.address}b (the connection broke at 2 of 5 bytes); try again" in message
        assert self.names_in(folder) == {".download", ".download/a", ".download/b.part"}
        (host.folder / "b.cut").unlink()
        host.asked.clear()
        self.fetch(host.address, folder)
        assert host.asked == ["b bytes=2-"]
        assert self.names_in(folder) == {"a", "b"}

    def test_a_file_that_is_not_upstreams(self, tmp_path: Path, host: Host) -> None:
        (host.folder / "a").write_text("<html>Please sign in</html>")
        assert "a has sha256 " in self.error_of(host.address, tmp_path / "mine")
        assert host.asked == ["a"]
        assert list(tmp_path.iterdir()) == []

    def test_pieces_of_two_versions(self, tmp_path: Path, host: Host) -> None:
        holding = tmp_path / "mine/.download"
        holding.mkdir(parents=True)
        (holding / "a.part").write_bytes(b"of yesterday")
        self.fetch(host.address, tmp_path / "mine")
        assert host.asked == ["a bytes=12-", "a", "b"]
        assert (tmp_path / "mine/a").read_bytes() == CONTENT

    def test_files_of_ones_own_are_no_part_of_it(self, tmp_path: Path, host: Host) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "b").write_bytes(b"my own")
        with pytest.raises(
            UserError, match=r"mine: b has sha256 \w+; move it away .* put a beside"
        ):
            self.fetch(host.address, folder)
        assert host.asked == [] and self.names_in(folder) == {"b"}
        (folder / "b").write_bytes(b"short")
        self.fetch(host.address, folder)
        assert host.asked == ["a"] and self.names_in(folder) == {"a", "b"}

    def test_a_full_disk(self, tmp_path: Path, host: Host) -> None:
        with full_disk(100_000):
            message = self.error_of(host.address, tmp_path / "mine")
        assert message.startswith(f"{tmp_path / 'mine/.download'}") and "make room" in message
        self.fetch(host.address, tmp_path / "mine")

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path, host: Host) -> None:
        (tmp_path / "file").touch()
        message = self.error_of(host.address, tmp_path / "file/mine")
        assert "Not a directory" in message and "--data-dir" in message

    def test_a_part_of_the_files(self, tmp_path: Path) -> None:
        assert local_files("mine", tmp_path, self.FILES, "http://there/") is None
        (tmp_path / "a").touch()
        with pytest.raises(UserError) as caught:
            local_files("mine", tmp_path, self.FILES, "http://there/")
        assert str(caught.value) == (
            f"{tmp_path}: lacks b; put it beside the others (http://there/), or: tfcamp data fetch "
            f"mine --data-dir {tmp_path.parent}"
        )
        (tmp_path / "b").touch()
        files = local_files("mine", tmp_path, self.FILES, "http://there/")
        assert files == {"a": tmp_path / "a", "b": tmp_path / "b"}


def test_a_folder_that_goes_when_it_is_to_be_locked(tmp_path, monkeypatch) -> None:
    """Who had the lock removes the folder as well, between the other's mkdir and its open."""
    path = tmp_path / "made/lock"
    made = Path.mkdir
    removals = iter([True, True, False])

    def make(folder: Path, *arguments, **options) -> None:
        made(folder, *arguments, **options)
        if next(removals):
            folder.rmdir()

    monkeypatch.setattr(Path, "mkdir", make)
    with one_at_a_time(path):
        assert path.exists()


def test_one_waits_for_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made/lock"
    waits = threading.Event()
    monkeypatch.setattr(locks, "print", lambda *_, **__: waits.set(), raising=False)
    entered: list[str] = []

    def enter() -> None:
        with one_at_a_time(path):
            entered.append("second" if path.exists() else "second, by a lock that is gone")

    second = threading.Thread(target=enter)
    with one_at_a_time(path):
        second.start()
        assert waits.wait(timeout=600)
        entered.append("first")
    second.join(timeout=600)
    assert entered == ["first", "second"]
    assert not path.exists()
