import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from genesis.common.errors import UserError
from genesis.nanochat.tokenizer import SPECIALS, TokenizerParams
from genesis.nanochat.tokenizer import tokenizer as run_tokenizer
from genesis.tags import TAGS


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_utf8_text_survives_a_round_trip(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_saved_tokenizer_marks_exactly_the_assistants_tokens(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Refund?"},
        {"role": "assistant", "content": "Yes, today."},
        {"role": "user", "content": "Thanks"},
        {"role": "assistant", "content": "Goodbye."},
    ]
    made = loaded.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mark in zip(made["input_ids"], made["assistant_masks"], strict=True) if mark]
    assert loaded.decode(marked) == "Yes, today.<|assistant_end|>Goodbye.<|assistant_end|>"
    assert loaded.decode(made["input_ids"]).startswith("<|bos|><|user_start|>Be brief.\n\nRefund?<|user_end|>")
    assert made["input_ids"].count(loaded.bos_token_id) == 1


def test_a_prompt_is_a_token_prefix_of_prompt_and_answer(tokenizer):
    turns = [{"role": "user", "content": "Which team?"}, {"role": "assistant", "content": "billing"}]
    prompt = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=True, return_dict=False)
    whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert whole[: len(prompt)] == prompt


def test_specials_are_single_tokens_and_the_vocabulary_is_as_asked(tokenizer):
    assert len(tokenizer) == 512
    single = [*SPECIALS, *TAGS]
    assert [len(tokenizer(token, add_special_tokens=False)["input_ids"]) for token in single] == [1] * len(single)


def test_tags_are_text_and_survive_decoding_without_specials(tokenizer):
    text = "".join(f"{tag}\n\nwords" for tag in TAGS)
    ids = tokenizer(f"<|bos|>{text}<|assistant_end|>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(("size", "says"), [(200, "below 272"), (60_000, "add text to the corpus")])
def test_a_vocabulary_that_cannot_be_is_refused(size, says, small_corpus, tmp_path, usage):
    with pytest.raises(UserError, match=says):
        run_tokenizer(TokenizerParams(vocab_size=size), small_corpus, tmp_path / "out", usage)
