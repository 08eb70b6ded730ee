"""Owns fetching: each source's archive by its package manager, by hash, and what is extracted of it."""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

from msgspec import structs

from tools.catalogue import litellm, pi
from tools.catalogue.inputs import InputError, Lock, Source, read_lock, write_extracted, write_lock

_FETCH_TIMEOUT_S: Final = 600.0
_PRICES: Final = "litellm/model_prices_and_context_window_backup.json"
_PI_FOLDER: Final = "/dist/providers/data/"
# Its data is Python: it is read in a process of its own, from the unpacked wheel. litellm is never run.
_GENAI: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); sys.path.insert(1, sys.argv[2]); import json;"
    "from genai_prices.data import providers; from tools.catalogue.genai import kept;"
    "json.dump(kept(providers), sys.stdout)"
)


def update(as_of: date) -> Lock:
    """Fetches what the lock names, and rewrites the inputs and the lock. Raises InputError for any other bytes."""
    sources = []
    with tempfile.TemporaryDirectory() as folder:
        for source in read_lock().sources:
            archive = _fetch(source, Path(folder))
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != source.archive_sha256:
                raise InputError(
                    f"{source.package} {source.version} has the hash {found}, not the one in the lock"
                )
            extracted = write_extracted(source.name, _EXTRACT[source.name](archive))
            sources.append(structs.replace(source, extracted_sha256=extracted))
    lock = Lock(as_of, tuple(sources))
    write_lock(lock)
    return lock


def _fetch(source: Source, folder: Path) -> Path:
    into = folder / source.name
    into.mkdir()
    if source.manager == "pip":
        wanted = folder / f"{source.name}.txt"
        wanted.write_text(f"{source.package}=={source.version} --hash=sha256:{source.archive_sha256}\n")
        options = [
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "-q",
            "-d",
            str(into),
            "-r",
            str(wanted),
        ]
        command = [sys.executable, "-m", "pip", "download", *options]
    else:
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{source.package}@{source.version}"]
    try:
        subprocess.run(command, cwd=into, check=True, timeout=_FETCH_TIMEOUT_S, stdout=subprocess.DEVNULL)  # noqa: S603  our own words
    except FileNotFoundError:
        raise InputError(f"{command[0]} is needed to fetch {source.package}, and is not installed") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{source.package} {source.version} cannot be fetched: {error}") from None
    (archive,) = into.iterdir()
    return archive


def _of_litellm(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as wheel:
        return litellm.kept(json.loads(wheel.read(_PRICES), parse_float=str))


def _of_genai(archive: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)  # noqa: S202  its hash is the one in the lock
        root = str(Path(__file__).parents[2])
        command = [sys.executable, "-c", _GENAI, folder, root]
        done = subprocess.run(command, check=True, timeout=_FETCH_TIMEOUT_S, capture_output=True)  # noqa: S603  as above
    extracted: dict[str, Any] = json.loads(done.stdout)
    return extracted


def _of_pi(archive: Path) -> dict[str, Any]:
    files = {}
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            name = Path(member.name).name
            if _PI_FOLDER in member.name and name.endswith(".json") and not name.startswith("."):
                content = packed.extractfile(member)
                if content is not None:
                    files[name.removesuffix(".json")] = json.loads(content.read(), parse_float=str)
    return pi.kept(files)


_EXTRACT: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "genai-prices": _of_genai,
    "litellm": _of_litellm,
    "pi-ai": _of_pi,
}
