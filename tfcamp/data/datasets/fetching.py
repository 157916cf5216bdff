"""Downloads by way of TFDS: what its builders need, and its own data sets as a whole."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow_datasets.public_api as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from tfcamp.errors import UserError

# What a download may end with, short of a mistake in the code.
_DOWNLOAD_ERRORS = (
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


def build(builder: tfds.core.DatasetBuilder, name: str, root: Path) -> None:
    """Lets TFDS download and build one of its own data sets.

    Args:
      builder: the data set's.
      name: of the data set, with its configuration where it has several.
      root: TFDS's folder, for the message.

    Raises:
      UserError: no network, or a broken download; says what else can be done.
    """
    try:
        for url in list(builder.url_infos or ())[:1]:
            _check_host(url)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    # What TFDS asserts is that files are there which must be downloaded by hand.
    except (*_DOWNLOAD_ERRORS, AssertionError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"{name}: cannot be downloaded ({reason}); build it where that can be done (tfds build "
            f"{name}) and copy its folder to {root / builder.name}"
        ) from error


def _check_host(url: str) -> None:
    """Asks a host once whether it answers: TFDS goes on asking for over three minutes.

    Raises:
      OSError: it does not answer.
    """
    try:
        with urllib.request.urlopen(url, timeout=10):
            pass
    except urllib.error.HTTPError:
        pass  # An answer it is; TFDS asks in another way, and reports it if that is refused too.
