"""Brings one file of the package index to the disk: found by exact name, resumed where it stopped, with a bar.

Called by `sources`, which checks the hash. Nothing that is downloaded is ever executed.
"""

import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import requests
from pypi_simple import NoSuchProjectError, PyPISimple
from tqdm import tqdm

from tfrec_llm.data.archives import Archive, SourceError

log = logging.getLogger(__name__)

ATTEMPTS, TIMEOUT, CHUNK = 5, 60, 1 << 18


def index_client() -> PyPISimple:
    """A client of the index that pip is configured for, else of the public one."""
    endpoint = os.environ.get("PIP_INDEX_URL", "")
    if not endpoint:
        asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        endpoint = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return PyPISimple(endpoint) if endpoint else PyPISimple()


def find_url(client: PyPISimple, archive: Archive) -> str:
    """Where the index keeps an archive's file.

    Raises:
      SourceError: the index does not list this file.
    """
    try:
        packages = client.get_project_page(archive.name, timeout=TIMEOUT).packages
    except NoSuchProjectError:
        packages = []
    for package in packages:
        if package.filename == archive.file:
            return package.url
    raise SourceError(
        f"{archive.file}: the index {client.endpoint} does not list it; set PIP_INDEX_URL to an index that does."
    )


def download(archive: Archive, folder: Path) -> Path:
    """Downloads an archive's file beside its final place.

    Args:
      archive: what to bring.
      folder: where; a `.part` file left there by an earlier attempt is continued.

    Returns:
      The complete `.part` file, not yet checked.

    Raises:
      SourceError: no network, no room on the disk, or the index does not have the file.
    """
    part = folder / f"{archive.file}.part"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with index_client() as client:
                _stream(client.s, find_url(client, archive), archive, part)
            return part
        except requests.RequestException as error:
            if attempt == ATTEMPTS or (attempt > 1 and not part.exists()):  # not even begun: offline
                raise SourceError(_no_network(archive, folder, error)) from error
            log.warning("%s: interrupted (%s), attempt %d of %d goes on", archive.file, error, attempt, ATTEMPTS)
            time.sleep(min(2.0**attempt, 15.0) if attempt > 1 else 0.2)
        except OSError as error:
            raise SourceError(_no_disk(archive, folder, error)) from error
    raise SourceError(f"{archive.file}: not downloaded.")


def _stream(session: requests.Session, url: str, archive: Archive, part: Path) -> None:
    """Appends what is missing to the `.part` file."""
    have = part.stat().st_size if part.exists() else 0
    if have >= archive.size:
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"  # the size of the file, not of a compressed transfer
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        have = have if response.status_code == requests.codes.partial_content else 0
        bar = tqdm(total=archive.size, initial=have, unit="B", unit_scale=True, desc=archive.name, disable=None)
        with bar, part.open("ab" if have else "wb") as out:
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < archive.size:
        raise requests.ConnectionError(f"{part.stat().st_size:,} of {archive.size:,} bytes came")


def _no_network(archive: Archive, folder: Path, error: Exception) -> str:
    reason = type(error).__name__ if len(str(error)) > 120 else str(error)
    return (
        f"{archive.file}: the package index could not be reached ({reason}); connect to the network, or put the file "
        f"(sha256 {archive.sha256}) into {folder}, and run again: what has come so far is kept."
    )


def _no_disk(archive: Archive, folder: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        need = f"{archive.size / 1e6:.0f} MB"
        return f"{folder}: no room on the disk for {archive.file} ({need}); free some, or move TFREC_LLM_CACHE."
    return f"{folder}: cannot write {archive.file} ({error}); make it writable, or move TFREC_LLM_CACHE."
