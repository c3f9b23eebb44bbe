"""A tiny BERT with random weights and a vocabulary learned from given texts: the real code path where no weights can be had."""

from pathlib import Path


def write_tiny_bert(folder: Path, texts: list[str], seed: int, hidden: int = 64, layers: int = 2, vocabulary: int = 4000) -> Path:
    """Save a BertModel of random weights and a WordPiece tokenizer trained on `texts` into `folder`; returns the folder.

    The same texts and seed give the same bytes. It knows no language: only training makes its vectors mean anything, though
    texts that share words are near each other from the start.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(sorted(set(texts)), trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
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
