"""Small tokenizers, one a family, trained in memory on a few sentences: vocabularies under 500, no files, no network.

Each has the special tokens, post-processor and spacing rules of its family, so that what holds for them is expected
to hold for the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "The film was great and the acting was good.",
    "The film was terrible and the story was bad.",
    "It was a wonderful evening, it was great fun!",
    "A boring and awful movie. It was not worth the money?",
    "I bought this camera last year and it still works well; the battery is good.",
    "The product broke after two days, and the company did not answer my letter.",
    "Is the second sentence a paraphrase of the first? yes or no, maybe.",
    "Sentiment: positive negative neutral. Review: Question: Answer: Text: Label:",
    "She said that the shares rose 3 percent on Monday, the report of the bank shows.",
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _byte_level(vocab_size: int, special: Sequence[str | AddedToken]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def _word_piece() -> Tokenizer:
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {
        word for text in SENTENCES for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    }  # the library's WordPiece trainer orders its vocabulary differently in every process
    letters = {letter for word in words for letter in word}
    endings = {f"##{ending}" for ending in (*letters, "ing", "ed", "er", "ly", "ful") if ending.isalnum()}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: index for index, token in enumerate([*special, *sorted(words | letters), *sorted(endings)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return tokenizer


def _bert_like(inputs: list[str]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=_word_piece(),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=inputs,
        model_max_length=512,
    )


@lru_cache(maxsize=1)
def bert_tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece, lower case; `[CLS] a [SEP] b [SEP]` with segment ids."""
    return _bert_like(["input_ids", "token_type_ids", "attention_mask"])


@lru_cache(maxsize=1)
def distilbert_tokenizer() -> PreTrainedTokenizerFast:
    """As BERT's, without segment ids."""
    return _bert_like(["input_ids", "attention_mask"])


@lru_cache(maxsize=1)
def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE; `<s> a </s></s> b </s>`, a mask token that swallows the space before it, padding id 1."""
    mask = AddedToken("<mask>", lstrip=True, special=True)
    special: list[str | AddedToken] = ["<s>", "<pad>", "</s>", "<unk>", mask]
    tokenizer = _byte_level(400, special)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=mask,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=512,
    )


@lru_cache(maxsize=1)
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, one special token, no padding token, nothing added to a text."""
    tokenizer = _byte_level(400, ["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=1024,
    )


@lru_cache(maxsize=1)
def opt_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE that puts `</s>` in front of every text; padding id 1."""
    tokenizer = _byte_level(400, ["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=1024,
    )


@lru_cache(maxsize=1)
def llama_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece-like BPE ("▁" for a space, one put in front of a text, bytes for unknown characters), `<s>` in
    front of a text, and a chat template whose turns are special tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    raw = [f"<0x{byte:02X}>" for byte in range(256)]
    # The trainer would merge across spaces if it saw whole sentences, as SentencePiece does not.
    words = ["▁" + word for sentence in SENTENCES for word in sentence.split()]
    trainer = trainers.BpeTrainer(vocab_size=490, special_tokens=special + raw, show_progress=False)
    plain = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.train_from_iterator(words, trainer)
    tokenizer.model = plain.model
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHAT_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=1024,
    )


@lru_cache(maxsize=1)
def t5_tokenizer() -> PreTrainedTokenizerFast:
    """SentencePiece's unigrams ("▁" in front of every word, runs of spaces are one), `</s>` behind a text."""
    marks = {letter for text in SENTENCES for letter in text if not letter.isspace()}
    words = {"▁" + word.strip(".,!?:;") for text in SENTENCES for word in text.split()}
    special = ["<pad>", "</s>", "<unk>"]
    scored = [(token, 0.0) for token in special] + [("▁", -8.0)]
    scored += [(word, -4.0 - 0.1 * len(word)) for word in sorted(words)] + [(mark, -9.0) for mark in sorted(marks)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2, byte_fallback=False))
    metaspace = {"replacement": "▁", "prepend_scheme": "always", "split": True}
    splitters = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splitters)
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=512,
    )
