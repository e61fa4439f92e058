"""Generates the staging model: a tiny Llama, its tokenizer and three LoRA adapters, always the same.

Runs with the engine's own Python, which has torch, transformers and peft; nothing imports it:

    .venv-vllm/bin/python loadtests/staging/model.py --out DIR

The model answers noise. What it exercises is real all the same: prompts are tokenised, prefixes cached,
adapters swapped and streams sent by vLLM itself, at a speed that two cores can hold (layers of twice the
width are ten times slower with LoRA on a CPU).
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
TEXTS = (HERE / "gateway" / "prompts", HERE.parent / "phrases.yaml")  # what it will be asked to read
ADAPTERS = ("manga_domain_v3", "general_support_v2", "jp_style_v1")
SEED = 42
VOCABULARY = 4096
CONTEXT_TOKENS = 4096
END, PAD = "<|end|>", "<|pad|>"
# One line a message, so that a prefix stays a prefix of tokens, however the conversation goes on.
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '" + END + "\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
MARKS = (END, PAD, "<|system|>", "<|user|>", "<|assistant|>")
STAMP = "made-from"


def main() -> None:
    """Write DIR/base and DIR/<adapter>; nothing is done where they were made from the same inputs before."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder that holds the models")
    out: Path = parser.parse_args().out
    wanted = fingerprint()
    stamp = out / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        print(f"{out}: already made from the same inputs")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as made:
        generate(Path(made) / out.name)
        (Path(made) / out.name / STAMP).write_text(wanted)
        shutil.rmtree(out, ignore_errors=True)
        (Path(made) / out.name).rename(out)
    print(f"{out}: base and {', '.join(ADAPTERS)}")


def fingerprint() -> str:
    """Changes with this file, the texts and the libraries that turn them into weights."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode())
    for file in _files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def generate(out: Path) -> None:
    """Base model, tokenizer and adapters under `out`."""
    tokenizer = _tokenizer()
    torch.manual_seed(SEED)
    base = LlamaForCausalLM(_config(tokenizer)).to(torch.bfloat16)
    base.save_pretrained(out / "base")
    tokenizer.save_pretrained(out / "base")
    for number, name in enumerate(ADAPTERS):
        torch.manual_seed(SEED + 1 + number)
        _adapter(LlamaForCausalLM.from_pretrained(out / "base", dtype=torch.bfloat16)).save_pretrained(
            out / name
        )


def _config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )


def _adapter(base: LlamaForCausalLM) -> Any:
    config = LoraConfig(
        r=8,
        lora_alpha=16,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    return get_peft_model(base, config)


def _tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text in any language can be told."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(MARKS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=END, pad_token=PAD, model_max_length=CONTEXT_TOKENS
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _texts() -> Iterator[str]:
    for file in _files():
        yield from _strings(yaml.safe_load(file.read_text(encoding="utf-8")))


def _files() -> list[Path]:
    return sorted(file for place in TEXTS for file in ([place] if place.is_file() else place.glob("*.yaml")))


def _strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        yield from (text for each in data.values() for text in _strings(each))
    elif isinstance(data, list):
        yield from (text for each in data for text in _strings(each))


if __name__ == "__main__":
    main()
