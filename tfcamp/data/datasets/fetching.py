"""Downloads the files of data sets, all of them and verified, or none."""

import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from tfcamp.errors import UserError

# What a download may end with, short of a mistake in the code.
DOWNLOAD_ERRORS = (
    OSError,
    http.client.HTTPException,
    tfds.download.DownloadError,
    NonMatchingChecksumError,
)


def download_verified(
    dl_manager: tfds.download.DownloadManager,
    urls: Mapping[str, str],
    difference: Callable[[str, Path], str | None],
) -> dict[str, Path]:
    """Downloads files one after another and verifies them.

    Args:
      dl_manager: TFDS's.
      urls: address of each file by its name.
      difference: tells, given a name and a path, how the file differs from what is expected.

    Returns:
      path of each file by its name; where it lies is the download manager's affair.

    Raises:
      tfds.download.DownloadError: a file is not what is expected.
    """
    files = {}
    for name, url in urls.items():
        # One at a time: when one of several fails, TFDS's threads go on writing the others.
        path = Path(dl_manager.download({name: url})[name])
        if told := difference(name, path):
            raise tfds.download.DownloadError(f"{url}: {told}")
        files[name] = path
    return files


def fetch_files(
    name: str,
    folder: Path,
    urls: Mapping[str, str],
    difference: Callable[[str, Path], str | None],
    *,
    url_infos: Any = None,
) -> None:
    """Downloads files into a folder: all of them and verified, or none.

    Args:
      name: of the data set.
      folder: is made if it is not there.
      urls: see :func:`download_verified`, and so is `difference`.
      difference: see there.
      url_infos: TFDS's checksums of these addresses, if it has any.

    Raises:
      UserError: no network, a broken download or a folder that cannot be written; says which files
        to put where.
    """
    try:
        check_host(next(iter(urls.values())))
        folder.mkdir(parents=True, exist_ok=True)
        # What breaks off stays in the temporary folder and is never taken for good.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            dl_manager = tfds.download.DownloadManager(download_dir=temporary, url_infos=url_infos)
            for file, path in download_verified(dl_manager, urls, difference).items():
                path.replace(folder / file)
    except DOWNLOAD_ERRORS as error:
        places = ", ".join(str(folder / file) for file in urls)
        raise UserError(
            f"{name}: cannot download {next(iter(urls.values()))} ({one_line(error)}); put what "
            f"stands there at {places}"
        ) from error


def check_host(url: str) -> None:
    """Asks a host once whether it answers: TFDS goes on asking for over three minutes.

    Raises:
      OSError: it does not answer.
    """
    try:
        with urllib.request.urlopen(url, timeout=10):
            pass
    except urllib.error.HTTPError:
        pass  # An answer it is; TFDS asks in another way, and reports it if that is refused too.


def one_line(error: Exception) -> str:
    """Returns what an error says first."""
    return (str(error) or repr(error)).splitlines()[0]
