"""Law 12: a checkpoint that PEFT wrote gives PEFT's own logits here, and one that we write gives ours there.

PEFT runs every row alone, where it is right; ours run in one batch, padded on either side. Where PEFT is wrong about
padding or about which place is read (the defects D1, D2, D13 of its prompt methods), the right answer is asserted.
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from foreword.artifacts import storage
from foreword.artifacts.peft import export_peft, import_peft, read_peft, write_peft
from foreword.artifacts.peft.importing import Reading
from foreword.artifacts.peft.layout import compiled
from foreword.backbone.backbone import Backbone
from foreword.bank import Bank
from foreword.batch import Item, collate
from foreword.config import GenerationOptions
from foreword.errors import Unsupported
from foreword.generation import generate
from foreword.injections import Injection
from foreword.text.pieces import Frame
from support.backbones import CAUSAL, MASKED, bare, shared
from support.forewords import OWNER, ROWS, bank_of, loud, make, scores, short_words
from support.peft_models import (
    COUNT,
    KINDS,
    SITES,
    difference,
    library,
    loaded,
    model_for,
    one_row,
    ours,
    placed,
    plain_rows,
    states,
    theirs,
    written,
)

CLOSE = 1e-5
WHOLE = tuple(family for family in CAUSAL if family != "opt-projected")
READ = [(family, kind) for family in (*WHOLE, "bert", "roberta") for kind in KINDS]
READ += [(family, kind) for family in (*WHOLE, *MASKED) for kind in SITES]
READ += [("distilbert", "prompt"), ("opt-projected", "prompt")]


@pytest.fixture(scope="module", autouse=True)
def _peft():
    library()


@pytest.fixture
def close(record_property):
    """Asserts that two lists of tensors are equal up to rounding, and records by how much they differ."""

    def check(found, expected, what):
        largest = difference(found, expected)
        record_property("difference", f"{what}: {largest:.2e}")
        assert largest < CLOSE, what

    return check


# -- PEFT's checkpoints here ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "kind"), READ)
def test_a_checkpoint_of_peft_gives_its_logits(family, kind, tmp_path, law, close):
    changes = _geometry(family, kind)
    folder = written(family, kind, tmp_path / "theirs", **changes)
    backbone = shared(family)
    adapter, rows = read_peft(folder, backbone), plain_rows(backbone)
    expected = theirs(family, folder, [row.ids for row in rows])
    for side in ("right", "left"):  # left: D13, PEFT counts the padding as positions
        close(ours(backbone, adapter.injection, placed(rows, adapter), side), expected, f"read {kind} {family}")
    bare_ones = ours(backbone, Injection(), rows)
    assert difference([e[-len(row) :] for e, row in zip(expected, rows, strict=True)], bare_ones) > 0.05
    law(12)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("kind", [*KINDS, *SITES])
def test_what_differs_is_rounding(family, kind, tmp_path, record_property):
    """In float64 nothing of the difference is left."""
    folder = written(family, kind, tmp_path / "theirs")
    backbone = Backbone(bare(family).double(), shared(family).tokenizer, shared(family).kind, family)
    adapter, rows = read_peft(folder, backbone), plain_rows(backbone)
    model = loaded(family, folder).double()
    with torch.no_grad():
        expected = [model(**one_row(row.ids)).logits[0] for row in rows]
    largest = difference(ours(backbone, adapter.injection, placed(rows, adapter)), expected)
    record_property("difference", f"float64 {kind} {family}: {largest:.2e}")
    assert largest < 1e-12


def _geometry(family, kind):
    """What PEFT does not find by itself: the width of DistilBERT, and a projected embedding's."""
    geometry = shared(family).geometry
    found = {"token_dim": geometry.embedding, "num_layers": geometry.layers, "num_attention_heads": geometry.heads}
    return found if kind == "prompt" and family in ("distilbert", "opt-projected") else {}


@pytest.mark.parametrize("family", WHOLE)
@pytest.mark.parametrize("kind", ["prompt", "prefix", "lora", "lora-patterns", "ia3"])
def test_a_classifier_of_peft_gives_its_scores(family, kind, tmp_path, law, close):
    """D2: PEFT's own classifier reads the last place of a padded row; ours the last token."""
    folder = written(family, kind, tmp_path / "theirs", "SEQ_CLS")
    backbone = shared(family)
    made = import_peft(folder, backbone, tmp_path / "ours", Reading(labels=["a", "b", "c"], max_length=64))
    artifact = storage.read(made.folder)
    reader, bank = artifact.attach(backbone), Bank(backbone)
    bank.put("x", artifact.injection, reader.readout)
    items = [reader.item({"text": row["text"]}, "x") for row in ROWS]
    expected = theirs(
        family, folder, [row.ids for row in plain_rows(backbone, [row["text"] for row in ROWS])], "SEQ_CLS"
    )
    for side in ("right", "left"):
        close(scores(bank, items, side), expected, f"read {kind} {family} classifier")
    law(12)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("kind", ["prompt", "prefix", "lora", "ia3"])
def test_an_encoders_classifier_reads_cls(family, kind, tmp_path, law, close):
    """D1: under virtual tokens PEFT's classifier reads one of them; the right answer is that of [CLS]."""
    folder = written(family, kind, tmp_path / "theirs", "SEQ_CLS")
    backbone, model = shared(family), loaded(family, folder, "SEQ_CLS")
    adapter, rows = read_peft(folder, backbone), plain_rows(backbone)
    head = model_for(family, "SEQ_CLS")
    names = {name.removeprefix("classifier."): tensor for name, tensor in adapter.readout.items()}
    head.classifier.load_state_dict(names)
    found = []
    for hidden, row in zip(
        states(backbone, adapter.injection, placed(rows, adapter)), placed(rows, adapter), strict=True
    ):
        at = hidden[None, row.cls :]
        with torch.no_grad():
            found.append(head.classifier(head.base_model.pooler(at) if family == "bert" else at)[0])
    if kind != "prompt":
        expected = theirs(family, folder, [row.ids for row in rows], "SEQ_CLS")
    else:
        expected = [_at_cls(model, family, row) for row in rows]
    close(found, expected, f"read {kind} {family} classifier")
    with pytest.raises(Unsupported, match="behind a second layer"):
        import_peft(folder, backbone, tmp_path / "ours") if kind != "prompt" else _refuse_layers(adapter, backbone)
    law(12)


def _refuse_layers(adapter, backbone):
    from foreword.artifacts.peft.importing import _linear

    _linear(adapter, backbone)


@torch.no_grad()
def _at_cls(model, family, row):
    """What PEFT's model would answer if its classifier read [CLS]: its own states from the P-th place on."""
    base = model.get_base_model()
    words = base.get_input_embeddings()(torch.tensor([row.ids]))
    embeds = torch.cat([model.get_prompt(1), words], dim=1)
    hidden = base.base_model(inputs_embeds=embeds).last_hidden_state[:, COUNT:]
    return base.classifier(base.base_model.pooler(hidden) if family == "bert" else hidden)[0]


@pytest.mark.parametrize("family", WHOLE)
def test_virtual_tokens_before_a_causal_text_are_key_values(family, tmp_path, law, close):
    folder = written(family, "prompt", tmp_path / "theirs")
    backbone = shared(family)
    adapter, rows = read_peft(folder, backbone), plain_rows(backbone)
    whole = theirs(family, folder, [row.ids for row in rows])
    assert adapter.injection.soft is not None
    made = compiled(adapter.injection.soft, backbone)
    close(ours(backbone, made, rows, "left"), [one[COUNT:] for one in whole], f"compiled prompt {family}")
    law(12)


IMPORTED = [(family, kind) for family in ("gpt2", "llama") for kind in ("prompt", "prefix", "lora-patterns", "ia3")]
IMPORTED += [(family, kind) for family in ("bert", "roberta") for kind in ("prefix", "lora-patterns", "ia3")]


@pytest.mark.parametrize(("family", "kind"), IMPORTED)
def test_an_imported_language_model_scores_words_as_peft_does(family, kind, tmp_path, law, close):
    folder = written(family, kind, tmp_path / "theirs")
    backbone, words = shared(family), short_words(family)
    reading = Reading(
        template="{text} It was {mask}", labels=list(words), words={k: [w] for k, w in words.items()}, max_length=64
    )
    artifact = storage.read(import_peft(folder, backbone, tmp_path / "ours", reading).folder)
    reader, bank = artifact.attach(backbone), Bank(backbone)
    bank.put("x", artifact.injection, reader.readout)
    tokenizer, texts = backbone.tokenizer, [row["text"] for row in ROWS]
    mask = f" {tokenizer.mask_token}" if family in MASKED else ""
    rows = [tokenizer(f"{text} It was{mask}")["input_ids"] for text in texts]
    space = "" if family in ("llama", "bert") else " "
    chosen = [tokenizer(space + word, add_special_tokens=False)["input_ids"][0] for word in words.values()]
    places = [ids.index(tokenizer.mask_token_id) if mask else -1 for ids in rows]
    there = theirs(family, folder, rows)
    expected = [one[place, chosen] for one, place in zip(there, places, strict=True)]
    items = [reader.item({"text": text}, "x") for text in texts]
    close(scores(bank, items, "left"), expected, f"read {kind} {family} words")
    law(12)


@pytest.mark.filterwarnings("ignore")  # of transformers, about what PEFT hands on
@pytest.mark.parametrize("family", WHOLE)
@pytest.mark.parametrize("kind", ["prompt", "prefix", "lora", "ia3"])
def test_what_is_written_is_what_peft_writes(family, kind, tmp_path, law):
    """D13 in generation: PEFT writes row by row here, ours in one batch."""
    folder, backbone = written(family, kind, tmp_path / "theirs"), shared(family)
    adapter, rows, model = read_peft(folder, backbone), plain_rows(backbone), loaded(family, folder)
    bank, options = Bank(backbone), GenerationOptions(max_new_tokens=8, eos_token_ids=())
    bank.put("x", adapter.injection)
    made = generate(bank, [Item((row,), "x") for row in placed(rows, adapter)], options)
    for [own], row in zip(made, rows, strict=True):
        with torch.no_grad():
            ids = model.generate(
                **one_row(row.ids),
                max_new_tokens=8,
                min_new_tokens=8,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        assert own.ids == tuple(ids[0, -8:].tolist())
    law(12)


# -- our forewords there --------------------------------------------------------------------------------------------

CAUSAL_ONES = ["prompt-random", "prompt-text", "p-tuning-lstm", "v2-text"]
AT_MODULES = {
    "lora": {"name": "lora", "r": 3, "lora_alpha": 7},
    "lora-some": {"name": "lora", "target_modules": "all-linear", "r": 2, "use_rslora": True, "layers": [0, -1]},
    "loras": {
        "name": "combined",
        "parts": [{"name": "lora", "r": 2, "layers": [0]}, {"name": "lora", "r": 5, "lora_alpha": 3, "layers": [2]}],
    },
    "ia3": {"name": "ia3"},
}


def _exported(made, backbone, tmp_path, **options):
    """The assembly as an artifact, and that as PEFT's checkpoint."""
    folder = storage.save(made, tmp_path / "artifact", "x")
    return export_peft(storage.read(folder), backbone, tmp_path / "exported", **options)


def _word_ids(assembly, leading):
    """What PEFT is given: the rows' own ids, without virtual tokens and without the words that they include."""
    found = []
    for row in ROWS:
        [one] = assembly.reader.item({"text": row["text"]}).rows
        words = [token for token, soft in zip(one.ids, one.soft, strict=True) if soft < 0]
        found.append(words[leading:])
    return found


@torch.no_grad()
def _last_logits(assembly, backbone):
    """`[V]` of each row where its answer is read."""
    bank = bank_of({OWNER: assembly})
    items = [assembly.reader.item({"text": row["text"]}, OWNER) for row in ROWS]
    batch = collate(items, backbone.pad_id, "left")
    return list(bank.logits(batch, batch.answers[:, :1])[:, 0])


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("method", CAUSAL_ONES)
def test_an_export_of_a_decoder_gives_our_logits_there(family, method, tmp_path, law, close):
    backbone = shared(family)
    made = _shaken(make(family, method, "words", backbone=backbone))
    exported = _exported(made, backbone, tmp_path)
    leading = exported.config["num_virtual_tokens"] - _virtual(made)
    there = theirs(family, exported.folder, _word_ids(made, leading))
    close(_last_logits(made, backbone), [one[-1] for one in there], f"write {method} {family}")
    law(12)


@pytest.mark.parametrize("family", [name for name in CAUSAL if Frame.of(shared(name).tokenizer, pair=False).prefix])
def test_an_export_that_peft_saved_anew_is_read_as_the_export(family, tmp_path, law):
    """PEFT keeps no note of what the first virtual tokens are: the tokenizer's own first words, which rows have too."""
    backbone = shared(family)
    made = _shaken(make(family, "prompt-random", "words", backbone=backbone))
    exported = _exported(made, backbone, tmp_path)
    words = short_words(family)
    reading = Reading(template="{text} It was {mask}", labels=list(words), words={k: [w] for k, w in words.items()})
    first = storage.read(import_peft(exported.folder, backbone, tmp_path / "first", reading).folder)
    path = exported.folder / "adapter_model.safetensors"
    save_file({name: tensor.clone() for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    again = storage.read(import_peft(exported.folder, backbone, tmp_path / "again", reading).folder)
    assert again.injection.soft is not None and torch.equal(again.injection.soft.vectors, first.injection.soft.vectors)
    trained = {name: tensor.clone() + 1e-3 for name, tensor in load_file(path).items()}
    save_file(trained, path, {"format": "pt"})
    moved = storage.read(import_peft(exported.folder, backbone, tmp_path / "moved", reading).folder)
    assert moved.injection.soft is None and moved.injection.key_values is not None
    law(12)


@pytest.mark.parametrize("family", MASKED)
@pytest.mark.parametrize("method", ["prompt-random", "p-tuning-mlp", "v2-moved"])
def test_an_export_of_an_encoder_gives_our_logits_there(family, method, tmp_path, law, close):
    backbone = shared(family)
    if method == "v2-moved":
        moved = {"name": "p-tuning-v2", "num_virtual_tokens": 3, "position_offset": 3, "init_std": 0.4}
        made = make(family, "v2-random", "words", backbone=backbone)
        made = _with_method(made, moved, backbone)
    else:
        made = _shaken(make(family, method, "words", backbone=backbone))
    if family == "distilbert" and method == "v2-moved":
        with pytest.raises(Unsupported, match="takes none"):
            _exported(made, backbone, tmp_path)
        law(12, "refused")
        return
    exported = _exported(made, backbone, tmp_path)
    leading = exported.config["num_virtual_tokens"] - _virtual(made)
    rows = _word_ids(made, leading)
    mask = backbone.tokenizer.mask_token_id
    there = theirs(family, exported.folder, rows)
    expected = [one[-len(ids) :][ids.index(mask)] for one, ids in zip(there, rows, strict=True)]
    close(_last_logits(made, backbone), expected, f"write {method} {family}")
    law(12)


@pytest.mark.parametrize("family", [*CAUSAL, *MASKED])
@pytest.mark.parametrize("name", AT_MODULES)
def test_an_export_of_operations_at_modules_gives_our_logits_there(family, name, tmp_path, law, close):
    backbone = shared(family)
    made = _shaken(
        _with_method(make(family, "linear-probe", backbone=backbone), AT_MODULES[name], backbone, family), 0.1
    )
    exported = _exported(made, backbone, tmp_path)
    rows = _word_ids(made, 0)
    there = theirs(family, exported.folder, rows)
    mask = backbone.tokenizer.mask_token_id
    places = [ids.index(mask) if family in MASKED else -1 for ids in rows]
    expected = [one[place] for one, place in zip(there, places, strict=True)]
    close(_last_logits(made, backbone), expected, f"write {name} {family}")
    words = short_words(family)
    reading = Reading(template="{text} It was {mask}", labels=list(words), words={k: [w] for k, w in words.items()})
    back = storage.read(import_peft(exported.folder, backbone, tmp_path / "back", reading).folder)
    first, again = made.method.at_rest().sites, back.injection.sites
    assert first.at.keys() == again.at.keys()
    for place, operation in first.at.items():
        for part, value in vars(operation).items():
            other = getattr(again.at[place], part)
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else other == pytest.approx(value)
    law(12)


def _with_method(made, method, backbone, family=None):
    """The same run with another method, and, for a named family, with words to answer in."""
    from foreword.assembly import assemble
    from foreword.config import RunConfig, build

    values = made.config.model_dump()
    values["method"] = method
    if family is not None:
        values["template"] = "{text} It was {mask}"
        values["readout"] = {"name": "verbalizer", "words": short_words(family)}
    return assemble(build(RunConfig, values), backbone, made.reader.task, made.reader.labels, ROWS)


def _virtual(assembly):
    injection = assembly.method.at_rest()
    return len(injection.soft.vectors) if injection.soft is not None else injection.key_values.length


def _shaken(assembly, by=0.3):
    """The method's values moved away from words and from each other."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(3)
        for parameter in assembly.method.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * by)
    return assembly


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("method", ["prompt-random", "v2-text"])
def test_an_exported_classifier_gives_our_scores_there(family, method, tmp_path, law, close):
    backbone = shared(family)
    made = loud(_shaken(make(family, method, "last", backbone=backbone)))
    with pytest.raises(Unsupported, match="has a bias"):
        _exported(made, backbone, tmp_path)
    with torch.no_grad():
        made.readout.bias.zero_()
    exported = _exported(made, backbone, tmp_path)
    leading = exported.config["num_virtual_tokens"] - _virtual(made)
    bank = bank_of({OWNER: made})
    items = [made.reader.item({"text": row["text"]}, OWNER) for row in ROWS]
    peft = loaded(family, exported.folder, "SEQ_CLS", 2)
    there = [peft(input_ids=torch.tensor([ids])).logits[0].detach() for ids in _word_ids(made, leading)]
    close(scores(bank, items, "left"), there, f"write {method} {family} classifier")
    law(12)


def test_keys_with_rotary_positions_are_turned_to_where_peft_has_the_text(tmp_path, law, close):
    """Ours are trained without moving the text; under PEFT the text moves, and the keys move along."""
    backbone = shared("llama")
    made = make("llama", "v2-random", "words", backbone=backbone)
    assert made.method.at_rest().position_offset == 0
    exported = _exported(made, backbone, tmp_path)
    there = theirs("llama", exported.folder, _word_ids(made, 0))
    close(_last_logits(made, backbone), [one[-1] for one in there], "write v2-random llama, turned")
    law(12)


@pytest.mark.parametrize("family", ["gpt2", "opt", "bert", "roberta"])
def test_learned_positions_cannot_be_moved(family, tmp_path, law):
    backbone = shared(family)
    made = make(family, "v2-random", "words", backbone=backbone)
    with pytest.raises(Unsupported, match="position_offset: 4"):
        _exported(made, backbone, tmp_path)
    assert not (tmp_path / "exported").exists()
    law(12, "refused")


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("kind", [*KINDS, *SITES])
def test_what_peft_wrote_is_written_back_bit_for_bit(family, kind, tmp_path):
    folder = written(family, kind, tmp_path / "theirs")
    backbone = shared(family)
    adapter = read_peft(folder, backbone)
    soft_kind = "P_TUNING" if adapter.kind == "P_TUNING" else "PROMPT_TUNING"
    config = write_peft(tmp_path / "again", adapter.injection, backbone, soft_kind=soft_kind)
    again = read_peft(tmp_path / "again", backbone)
    for name, tensor in adapter.injection.tensors().items():
        assert torch.equal(again.injection.tensors()[name], tensor)
    assert again.injection.position_offset == adapter.injection.position_offset
    ignored = {"base_model_name_or_path", "peft_version", "encoder_hidden_size", "encoder_reparameterization_type"}
    ignored |= {"prefix_projection"}
    if kind in SITES:  # modules are named one by one, and alpha is the one that divided by r gives the scale
        ignored |= {"target_modules", "feedforward_modules", "layers_to_transform", "use_rslora"}
        ignored |= {"r", "lora_alpha", "rank_pattern", "alpha_pattern"}
    for key in set(config) - ignored:
        assert config[key] == adapter.config.get(key), key


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
@pytest.mark.parametrize("method", ["prompt-random", "v2-text"])
def test_out_and_in_again_is_bit_equal(family, method, tmp_path, law):
    backbone = shared(family)
    made = _shaken(make(family, method, "words", backbone=backbone))
    exported = _exported(made, backbone, tmp_path)
    words = short_words(family)
    reading = Reading(template="{text} It was {mask}", labels=list(words), words={k: [w] for k, w in words.items()})
    back = storage.read(import_peft(exported.folder, backbone, tmp_path / "back", reading).folder)
    for name, tensor in made.method.at_rest().tensors().items():
        assert torch.equal(back.injection.tensors()[name], tensor), name
    reader, bank = back.attach(backbone), Bank(backbone)
    bank.put("x", back.injection, reader.readout)
    again = scores(bank, [reader.item({"text": row["text"]}, "x") for row in ROWS])
    first = scores(bank_of({OWNER: made}), [made.reader.item({"text": row["text"]}, OWNER) for row in ROWS])
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    law(12)


def test_imported_rows_stand_beside_others_in_one_batch(tmp_path, law, close):
    backbone = shared("llama")
    bank, rows, expected, items = Bank(backbone), plain_rows(backbone), [], []
    for kind in ("prompt", "prefix"):
        folder = written("llama", kind, tmp_path / kind)
        adapter = read_peft(folder, backbone)
        bank.put(kind, adapter.injection)
        items += [Item((row,), kind) for row in placed(rows, adapter)]
        expected += theirs("llama", folder, [row.ids for row in rows])
    items += [Item((row,)) for row in rows]
    expected += ours(backbone, Injection(), rows)
    batch = collate(items, backbone.pad_id, "left")
    where = torch.arange(batch.ids.shape[1]).expand(len(items), -1)
    with torch.no_grad():
        logits = bank.logits(batch, where)
    close([one[mask.bool()] for one, mask in zip(logits, batch.mask, strict=True)], expected, "mixed batch llama")
    law(12)
