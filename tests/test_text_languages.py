"""Catalogues in other scripts, and in several languages at once: the checkerboard, told in other words."""

import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from toy_text import Learned, is_sound, learn
from transformers import (
    AutoTokenizer,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)
from worlds import END, FILLER, WORDS, World, checkerboard, write_world

from recsys import face
from recsys.blocks import History
from recsys.text import Encoder, item_texts, mean_of_history, write_tiny_bert

# fmt: off
LANGUAGES = {
    "greek": (["ποτάμι", "πέτρα", "νερό", "βότσαλο"], ["βουνό", "λάμπα", "φως", "κερί"],
        "μικρό μέγα μπλε πράσινο απλό λεπτό στρογγυλό παλιό νέο κλασικό ημέρα δώρο άνοιξη γιορτή ταξίδι κήπος κουζίνα χαρτί βαμβάκι απαλό"),
    "russian": (["река", "камень", "вода", "галька"], ["гора", "лампа", "свет", "свеча"],
        "малый большой синий зелёный простой тонкий круглый старый новый вечный день дар весна осень путь сад кухня бумага хлопок мягкий"),
    "japanese": (["川べり", "小石", "みず", "ジャリ"], ["山", "ランプ", "あかり", "ろうそく"],
        "ちいさな 大きな 青い 緑の 無地 細かい 丸い 古い 新しい 定番 毎日 ギフト 春 秋 旅 庭 キッチン 紙 コットン やわらか"),
    "arabic": (["نهر", "حجر", "ماء", "حصى"], ["جبل", "مصباح", "ضوء", "شمعة"],
        "صغير كبير أزرق أخضر بسيط رفيع مدور قديم جديد كلاسيكي يومي هدية ربيع خريف سفر حديقة مطبخ ورق قطن ناعم"),
    "hindi": (["नदी", "पत्थर", "पानी", "कंकड़"], ["पहाड़", "दीपक", "रोशनी", "मोमबत्ती"],
        "छोटा बड़ा नीला हरा सादा महीन गोल पुराना नया पारंपरिक रोज़ उपहार वसंत शरद यात्रा बगीचा रसोई काग़ज़ सूती मुलायम"),
}
# fmt: on


def told_in(world: World, languages: list[str]) -> World:
    """The world with item n in language n // 2 of the list, in turn: both sides have every language. Japanese has no spaces."""
    columns: dict[str, list[str]] = {"title": [], "description": []}
    for place, row in enumerate(world.items.iter_rows(named=True)):
        language = languages[place // 2 % len(languages)]
        even, odd, rest = LANGUAGES[language]
        words = dict(zip([*WORDS["even"], *WORDS["odd"], *FILLER], [*even, *odd, *rest.split()], strict=True))
        for name, texts in columns.items():
            texts.append(("" if language == "japanese" else " ").join(words[word] for word in row[name].split()))
    return world._replace(items=world.items.with_columns(pl.DataFrame(columns), category=pl.lit(None, pl.String)))


def share_in_order(scores: np.ndarray) -> float:
    """Share of (user, own side's item, other side's item) that the scores put in the right order."""
    side = np.arange(scores.shape[1]) % 2
    return float(np.mean([(row[side == user % 2][:, None] > row[side != user % 2]).mean() for user, row in enumerate(scores)]))


def untrained(learned: Learned, world: World) -> np.ndarray:
    """Scores of the mean of the history over the encoder as it came."""
    users = world.events["user_id"].unique().sort()
    history = History.of(world.events, learned.catalogue, users, END, {"purchase": 1.0, "click": 0.2})
    return mean_of_history(history, learned.side.frozen, 20) @ learned.side.frozen.T


@pytest.mark.parametrize(
    ("languages", "least"),
    [*(([name], 0.95) for name in LANGUAGES), (["greek", "japanese", "arabic"], 0.85)],
    ids=[*LANGUAGES, "three at once"],
)
def test_a_catalogue_in_any_script_is_learned_and_ranked(tmp_path: Path, languages: list[str], least: float) -> None:
    world = told_in(checkerboard(), languages)
    learned = learn(tmp_path, world.items, world.events, {"text": {"warm_steps": 200}})
    assert is_sound(learned)
    assert not [line for line in learned.said if "unknown" in line]
    assert share_in_order(untrained(learned, world)) < least - 0.1
    assert share_in_order(learned.scores) > least


def test_a_catalogue_in_several_languages_is_trained_and_listed(tmp_path: Path) -> None:
    world = told_in(checkerboard(), ["greek", "russian", "japanese", "hindi"])
    quick = {"time": {"n_folds": 1}, "evaluate": {"bootstrap": 10}, "text": {"template": ["description", "title"]}}
    path = write_world(tmp_path, world.items, world.events, quick)
    face.train(path)
    lists = pl.read_parquet(face.rank(path, k=5, out=tmp_path) / "recommendations" / "*.parquet")
    assert world.answers.join(lists, on=["user_id", "item_id"]).height >= 0.9 * world.answers.height


# fmt: off
SPELLED = [
    ("ガラスのカップ 石", ["ガラスのカップ", "石"]),              # voiced sounds stay, each ideograph is a word of its own
    ("हिन्दी पुस्तक", ["हिन्दी", "पुस्तक"]),                       # vowel signs stay
    ("한국어 책", ["한국어", "책"]),
    ("كِتَاب، جديد", ["كِتَاب", "،", "جديد"]),                       # the Arabic comma parts words
    ("CAFÉ Ёлка ΆΛΦΑ", ["café", "ёлка", "άλφα"]),
    ("ไทยน้ำ", ["ไทยน้ำ"]),
]
# fmt: on


@pytest.mark.parametrize(("text", "words"), SPELLED)
def test_the_tiny_bert_spells_every_script_without_losing_a_sign(tmp_path: Path, text: str, words: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(write_tiny_bert(tmp_path, [text], seed=0, hidden=16, layers=1))
    assert tokenizer.tokenize(text) == words
    assert tokenizer.tokenize(unicodedata.normalize("NFD", text)) == words


def other_encoder(folder: Path, kind: str, texts: list[str]) -> Path:
    """A tiny encoder of another family: byte-level BPE or Unigram instead of WordPiece, positions counted otherwise."""
    common = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "pad_token_id": 1}
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    if kind == "distilbert":
        tokenizer = AutoTokenizer.from_pretrained(write_tiny_bert(folder, texts, seed=0, hidden=16, layers=1))
        model = DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=4, hidden_dim=64))
    else:
        if kind == "roberta":
            core = Tokenizer(models.BPE())
            core.pre_tokenizer = pre_tokenizers.ByteLevel()
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
        else:
            core = Tokenizer(models.Unigram())
            core.pre_tokenizer = pre_tokenizers.Metaspace()
            trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
        core.train_from_iterator(texts, trainer)
        core.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
        names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | ({} if kind == "roberta" else {"unk_token": "<unk>"})
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **names)
        shape, family = (RobertaConfig, RobertaModel) if kind == "roberta" else (XLMRobertaConfig, XLMRobertaModel)
        model = family(shape(vocab_size=len(tokenizer), max_position_embeddings=66, **common))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "distilbert"])
def test_encoders_of_other_families_read_every_script_up_to_their_last_position(tmp_path: Path, kind: str) -> None:
    world = told_in(checkerboard(), list(LANGUAGES))
    texts = item_texts(world.items)
    encoder = Encoder(other_encoder(tmp_path, kind, texts), "mean", 8192, 1, 256)
    odd = ["", "\U0001f600", "\x00 石", "石 река " * 10_000]
    inputs = encoder.tokens([*texts, *odd])
    vectors = encoder.encode(inputs, lambda *_: None)
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors[: len(texts)].round(5), axis=0)) == len(texts)
    assert encoder.unknown_share(encoder.tokens(texts)) == 0
    assert inputs.lengths[-1] == encoder.max_tokens
    assert encoder.fits(odd) == [True] * 3 + [False]
    np.testing.assert_allclose(encoder.encode(encoder.tokens(odd), lambda *_: None), vectors[len(texts) :], atol=1e-5)
