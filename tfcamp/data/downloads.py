"""Downloads the files of data sets: all of them and verified, or none.

A connection that breaks costs nothing. What has come stands in ``FOLDER/.download`` as
``NAME.part``, and the next call asks the server for the rest (RFC 9110, section 14: ranges). One
that cannot do that sends the whole file again, and the part is written anew.
"""

import contextlib
import http
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tqdm.auto import tqdm

from tfcamp.data.locks import one_at_a_time
from tfcamp.data.text_splits import sha256_of
from tfcamp.errors import UserError

_BLOCK_BYTES = 1 << 16
# Of silence, after which a connection counts as broken.
_TIMEOUT_SECONDS = 20
# manythings.org does not answer Python's own.
_HEADERS = {"User-Agent": "tfcamp"}

# Tells, given a file's name and its path, how it differs from upstream's, or None.
Difference = Callable[[str, Path], str | None]


class DownloadError(Exception):
    """A file could not be had; the message is its address and the reason."""


def local_files(
    name: str, folder: Path, files: Iterable[str], address: str
) -> dict[str, Path] | None:
    """Returns the files of a data set by name where a folder has all, None where it has none.

    Args:
      name: of the data set, as ``--dataset`` takes it.
      folder: where they may be.
      files: their names.
      address: where upstream has them, for the message.

    Raises:
      UserError: the folder has some of them.
    """
    paths = {file: folder / file for file in files}
    lacking = [file for file, path in paths.items() if not path.is_file()]
    if not lacking:
        return paths
    if len(lacking) < len(paths):
        raise UserError(
            f"{folder}: lacks {', '.join(lacking)}; put it beside the others ({address}), or: "
            f"tfcamp data fetch {name} --data-dir {folder.parent}"
        )
    return None


def fetch_files(name: str, folder: Path, urls: Mapping[str, str], difference: Difference) -> None:
    """Downloads the files that a folder lacks: all of them and verified, or none.

    Args:
      name: of the data set.
      folder: is made if it is not there.
      urls: address of each file by its name.
      difference: tells, given a name and a path, how the file differs from upstream's.

    Raises:
      UserError: no network, a broken download, a file that is not upstream's, or a folder that
        cannot be written; says which files to put where.
    """
    holding = folder / ".download"
    # A --data-dir that was misspelt goes again; one that the user made stays, even if it is empty.
    made = () if folder.parent.exists() else (folder.parent,)
    _refuse_a_mixture(folder, urls, difference)
    try:
        try:
            # Several workers may find at the same time that nothing is there.
            with one_at_a_time(holding / "lock"):
                lacking = {file: url for file, url in urls.items() if not (folder / file).is_file()}
                for file, url in lacking.items():
                    if not (holding / file).is_file():
                        _download_verified(url, holding / file, difference)
                for file in lacking:
                    (holding / file).replace(folder / file)
        finally:
            for emptied in (holding, folder, *made):
                with contextlib.suppress(OSError):  # it holds what has come
                    emptied.rmdir()
    except DownloadError as error:
        places = ", ".join(str(folder / file) for file in urls)
        raise UserError(
            f"{name}: cannot download {error}; try again, which goes on from where it stopped, or "
            f"put upstream's files there yourself: {places}"
        ) from error
    except OSError as error:
        raise UserError(
            f"{error.filename or holding}: {error.strerror or error}; make room there, or name "
            "another folder with --data-dir, and try again"
        ) from error


def download(url: str, path: Path) -> None:
    """Downloads a file, going on from what an earlier call has left in ``<name>.part``.

    A connection that breaks is taken up again at once, as long as each one brings something.

    Raises:
      DownloadError: it cannot be had, or not as a whole; the part stays.
      OSError: the part cannot be written.
    """
    part = _part_of(path)
    furthest = _size_of(part)
    while True:
        try:
            _receive(url, part)
            break
        except DownloadError:
            if _size_of(part) <= furthest:
                raise
            furthest = _size_of(part)
    os.replace(part, path)


def sha256_difference(name: str, path: Path, expected: str) -> str | None:
    """Returns how a file's content differs from that of a SHA-256, or None where it does not."""
    found = sha256_of([path])
    if found == expected:
        return None
    return f"{name} has sha256 {found[:12]}, upstream's has {expected[:12]}"


def _refuse_a_mixture(folder: Path, names: Iterable[str], difference: Difference) -> None:
    """Finds files of the user's own that upstream's would be put beside."""
    paths = {name: folder / name for name in names}
    lacking = [name for name, path in paths.items() if not path.is_file()]
    for name in paths if lacking else ():
        if name not in lacking and (told := difference(name, paths[name])):
            raise UserError(
                f"{folder}: {told}; move it away to have upstream's, or put {', '.join(lacking)} "
                "beside it"
            )


def _download_verified(url: str, path: Path, difference: Difference) -> None:
    """Downloads a file, and again as a whole where what came in pieces is not upstream's."""
    in_pieces = _size_of(_part_of(path)) > 0
    while True:
        download(url, path)
        told = difference(path.name, path)
        if told is None:
            return
        path.unlink()
        if not in_pieces:
            raise DownloadError(f"{url} ({told})")
        # Upstream may have renewed it between the pieces.
        in_pieces = False


def _receive(url: str, part: Path) -> None:
    """Appends to a part what the server still has of the file."""
    response, begin = _ask(url, _size_of(part))
    if response is None:
        return
    with response:
        total = None if response.length is None else begin + response.length
        if total is not None and total < _size_of(part):
            raise DownloadError(
                f"{url} (the server sends {total:,} bytes, of which {part} already has "
                f"{_size_of(part):,}; remove it if the server is right)"
            )
        with (
            part.open("ab" if begin else "wb") as file,
            tqdm(
                desc=part.stem,
                total=total,
                initial=begin,
                unit="B",
                unit_scale=True,
                dynamic_ncols=True,
            ) as bar,
        ):
            for block in _blocks_of(response, url):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size_of(part) < total:
        broke = f"the connection broke at {_size_of(part):,} of {total:,} bytes"
        raise DownloadError(f"{url} ({broke})")


def _ask(url: str, begin: int) -> tuple[http.client.HTTPResponse | None, int]:
    """Asks for a file from a byte on.

    Returns:
      the answer, None where there is nothing behind that byte; and the byte with which it begins.
    """
    asked_range = {"Range": f"bytes={begin}-"} if begin else {}
    request = urllib.request.Request(url, headers=_HEADERS | asked_range)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if not begin or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise DownloadError(f"{url} ({error})") from error
            if error.headers.get("Content-Range") == f"bytes */{begin}":
                return None, begin
        return _ask(url, 0)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url} ({_reason(error)})") from error
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return response, 0  # a server without ranges sends the whole file
    if response.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
        return response, begin
    response.close()
    return _ask(url, 0)


def _blocks_of(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """Yields what a server sends, and tells its errors from those of the disk."""
    try:
        while block := response.read(_BLOCK_BYTES):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """Returns what an error of the network says, on one line."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    told = getattr(cause, "strerror", None) or str(cause) or repr(cause)
    return str(told).splitlines()[0]


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
