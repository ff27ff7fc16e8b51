"""Byte-level BPE with nanochat's specials, saved as a Hugging Face tokenizer with its chat template.

The split pattern is GPT-4's with numbers cut into at most two digits, as nanochat has it for small vocabularies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from genesis.common.chat import write_json
from genesis.common.errors import UserError
from genesis.common.usage import Usage
from genesis.tags import TAGS

PAD = "<|pad|>"
BOS = "<|bos|>"
SPECIALS = [
    PAD,
    BOS,
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|python_start|>",
    "<|python_end|>",
    "<|output_start|>",
    "<|output_end|>",
]
SPLIT = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
# The system message joins the first user turn, as in nanochat; generation marks make completion masks exact.
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- set turns = messages -%}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set turns = messages[1:] -%}"
    "{%- endif -%}"
    "{%- for message in turns -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- '<|user_start|>' -}}"
    "{%- if loop.first and messages[0]['role'] == 'system' -%}"
    "{{- messages[0]['content'] + '\n\n' -}}"
    "{%- endif -%}"
    "{{- message['content'] + '<|user_end|>' -}}"
    "{%- else -%}"
    "{{- '<|assistant_start|>' -}}"
    "{%- generation -%}"
    "{{- message['content'] + '<|assistant_end|>' -}}"
    "{%- endgeneration -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|assistant_start|>' -}}"
    "{%- endif -%}"
)


@dataclass
class TokenizerParams:
    """Section `tokenizer`: vocabulary size (specials and RLT's tags included) and how much text to learn from."""

    vocab_size: int = 2048
    max_chars: int = 50_000_000


def tokenizer(params: TokenizerParams, corpus: Path, out: Path, usage: Usage) -> None:
    """Train on the corpus' training split and write `out`/model (AutoTokenizer loads it) and `out`/summary.json.

    Raises:
        UserError: a vocabulary too small for bytes and specials, or too little text to fill it.
    """
    smallest = 256 + len(SPECIALS) + len(TAGS)
    if params.vocab_size < smallest:
        raise UserError(
            f"tokenizer.vocab_size: {params.vocab_size} is below {smallest}: bytes, specials and RLT's tags"
        )
    trained = train_bpe(_texts(corpus / "train", params.max_chars), params.vocab_size)
    if len(trained) < params.vocab_size:
        raise UserError(
            f"tokenizer: the text yields {len(trained)} tokens, not {params.vocab_size}; "
            "add text to the corpus or lower tokenizer.vocab_size"
        )
    trained.save_pretrained(out / "model")
    text = "\n".join(_texts(corpus / "val", params.max_chars))
    count = len(trained(text, add_special_tokens=False)["input_ids"])
    usage.add(tokens=count)
    write_json(
        out / "summary.json",
        {"vocab_size": len(trained), "val_bytes_per_token": len(text.encode()) / count},
    )


def train_bpe(texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn a lossless byte-level BPE; every UTF-8 text decodes back to itself."""
    bpe = Tokenizer(models.BPE(byte_fallback=False))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size - len(TAGS),
            special_tokens=SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # not special: a special token would be dropped from decoded completions, and a tag is text
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token="<|assistant_end|>",
        additional_special_tokens=[token for token in SPECIALS[2:] if token != "<|assistant_end|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _texts(folder: Path, max_chars: int) -> Iterator[str]:
    seen = 0
    for path in sorted(folder.glob("*.parquet")):
        for batch in parquet.ParquetFile(path).iter_batches(columns=["text"]):
            for text in batch.column(0).to_pylist():
                yield text
                seen += len(text)
                if seen >= max_chars:
                    return
