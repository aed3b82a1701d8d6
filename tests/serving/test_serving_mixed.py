"""The law of the server: under random mixed load every answer equals its single-request answer, over HTTP and all."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from foreword.serving.limits import Limits

from .conftest import JUDGES, SOURCES, WRITERS, judge, running, save, writer

TEXTS = (*SOURCES, "It was a wonderful evening, it was great fun!", "The product broke after two days")


def folder(root: Path, seeds: int) -> list[str]:
    """Forewords of nine methods that write and of seven that give labels, each of so many seeds."""
    names = []
    for seed in range(seeds):
        for method in WRITERS:
            names.append(f"writes/{method}-{seed}")
            save(writer(method, seed), root, names[-1])
        for method in JUDGES:
            names.append(f"labels/{method}-{seed}")
            save(judge("llama", method, ("last", "mean")[seed % 2], seed), root, names[-1])
    return names


def requests(names: list[str], count: int, seed: int):
    """Random ones: a path, and a body."""
    chance = random.Random(seed)
    for number in range(count):
        name, text = chance.choice([*names, *["llama"] * (len(names) // 8)]), chance.choice(TEXTS)
        if name.startswith("labels/"):
            given = chance.sample(TEXTS, chance.randint(1, 3))
            yield "/v1/classify", {"model": name, "input": given}
        elif chance.random() < 0.1:
            yield "/v1/embeddings", {"model": "llama", "input": text}
        else:
            body = {"model": name, "prompt": text, "max_tokens": chance.randint(1, 12), "logprobs": 2}
            if chance.random() < 0.2:
                body |= {"temperature": 1.0, "seed": number, "n": chance.randint(1, 3), "top_p": 0.9}
            else:
                body |= {"temperature": 0}
            if chance.random() < 0.3:
                body["stop"] = ["e"]
            yield "/v1/completions", body


def told(answer: dict):
    """What has to be equal: texts and tokens; and numbers, up to rounding."""
    exact, near = [], []
    for one in answer.get("choices", ()):
        found = one["logprobs"]
        exact.append((one["text"], one["finish_reason"], found["tokens"]))
        near += found["token_logprobs"]
    for one in answer["data"] if "data" in answer else ():
        if "embedding" in one:
            near += one["embedding"]
        else:
            near += one["probabilities"].values()
    return exact, near


async def ask_all(url: str, everything: list, at_a_time: int, pauses: random.Random | None):
    gate = asyncio.Semaphore(at_a_time)
    async with httpx.AsyncClient(base_url=url, timeout=120, verify=False) as client:

        async def one(path: str, body: dict):
            async with gate:
                if pauses is not None:
                    await asyncio.sleep(pauses.random() * 0.01)
                answer = await client.post(path, json=body)
                assert answer.status_code == 200, answer.text
                return told(answer.json())

        return await asyncio.gather(*(one(path, body) for path, body in everything))


def law(root: Path, seeds: int, count: int) -> None:
    names = folder(root, seeds)
    everything = list(requests(names, count, seed=seeds))
    # memory for a part of them, so that they come and go; pieces so small that most prompts are cut
    sizes = [path.stat().st_size for path in root.rglob("weights.safetensors")]
    limits = Limits(resident_bytes=sum(sizes) * 6 // 10, slots=9, batch_tokens=400, prefill_tokens=16)
    with running(root, "llama", limits=limits) as (url, service):
        alone = asyncio.run(ask_all(url, everything, 1, None))
        before = _figure(service, "batch_forewords_sum"), _figure(service, "batch_forewords_count")
        mixed = asyncio.run(ask_all(url, everything, 24, random.Random(1)))
        after = _figure(service, "batch_forewords_sum"), _figure(service, "batch_forewords_count")
        assert _figure(service, "foreword_evictions_total") > 0
    assert (after[0] - before[0]) / (after[1] - before[1]) > 1.5  # they really did share passes and steps
    for (path, body), (exact, near), (same, close) in zip(everything, alone, mixed, strict=True):
        assert same == exact, (path, body)
        assert close == pytest.approx(near, abs=2e-4, rel=1e-3), (path, body)


def _figure(service, name: str) -> float:
    lines = service.metrics.text().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"foreword:{name} "))


def test_mixed_equals_separate(tmp_path):
    law(tmp_path, seeds=1, count=40)


@pytest.mark.slow
def test_mixed_equals_separate_for_sixty_forewords_and_hundreds_of_requests(tmp_path):
    law(tmp_path, seeds=4, count=400)
