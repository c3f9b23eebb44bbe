"""A tiny BERT with random weights and a vocabulary made from given texts: the real code path where no weights can be had."""

from collections import Counter
from pathlib import Path
from typing import Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def write_tiny_bert(folder: Path, texts: list[str], seed: int, hidden: int = 64, layers: int = 2, vocabulary: int = 4000) -> Path:
    """Save a BertModel of random weights and a WordPiece tokenizer made from `texts` into `folder`; returns the folder.

    The same texts and seed give the same bytes. It knows no language: only training makes its vectors mean anything, though
    texts that share words are near each other from the start.
    """
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, logging

    logging.disable_progress_bar()
    tokenizer = _tokenizer(texts, vocabulary)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(seed)
    shape = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=512,
    )
    folder.mkdir(parents=True, exist_ok=True)
    BertModel(shape).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


def _tokenizer(texts: list[str], vocabulary: int) -> Any:
    """WordPiece over the letters and the most frequent whole words. The library's own trainer breaks ties by chance.

    Accents stay: taking them away, as BERT does, turns Hindi vowels and Japanese voiced sounds into others.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.BertNormalizer(strip_accents=False)])
    splitter = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in sorted(set(texts)) for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters = sorted({letter for word in counts for letter in word})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = list(dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]))[:vocabulary]
    tokenizer = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer
