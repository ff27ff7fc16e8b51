import gzip
import json
import os
from pathlib import Path

import pytest

from genesis.__main__ import main
from genesis.common.errors import UserError
from genesis.evals.gsm8k import PLAIN_TEMPLATE, evaluate_gsm8k, read_gsm8k
from genesis.sampling import Completion

SHARED = Path(os.environ.get("GENESIS_SHARED_DATA", Path(__file__).parents[2] / "../shared/data")) / "reasoning"
ROWS = [
    {"question": "What is 3 * 4?", "answer": "It is 3 * 4 = <<3*4=12>>12.\n#### 12"},
    {"question": "What is 1,000 + 234?", "answer": "#### 1,234"},
    {"question": "Half of 5?", "answer": "#### 2.5"},
]


class Scripted:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = answers

    def sample(self, conversations, *, max_tokens, temperature=0.0, seed=0):
        self.asked = conversations
        return [Completion(text, 3, text != "cut", 0.5) for text in self.answers[: len(conversations)]]


def test_right_wrong_and_unreadable_answers_are_counted_apart():
    sampler = Scripted("4 + 8\n#### 12\n\nQuestion: What is 1 + 1?\nAnswer: #### 2", "about $1,235", "cut")
    records, summary = evaluate_gsm8k(sampler, ROWS, max_tokens=9)
    assert [record.verdict for record in records] == [True, False, None]
    assert sampler.asked[1] == [{"role": "user", "content": "What is 1,000 + 234?"}]
    assert summary["accuracy"] == pytest.approx(1 / 3)
    assert (summary["n"], summary["n_unparsed"], summary["n_failed"], summary["n_cut"]) == (3, 1, 0, 1)
    assert summary["n_contaminated"] is None and summary["clean_accuracy"] is None
    json.dumps(summary, allow_nan=False)


def test_contaminated_questions_are_left_out_of_the_clean_score():
    _, summary = evaluate_gsm8k(
        Scripted("12", "0", "2.50"), ROWS, max_tokens=9, contaminated=lambda text: "1,0" in text
    )
    assert (summary["n_contaminated"], summary["clean_accuracy"]) == (1, 1.0)
    assert summary["accuracy"] == pytest.approx(2 / 3)
    assert summary["clean_interval"][0] < 1.0


def test_shots_stand_in_front_and_are_not_scored():
    sampler = Scripted("1234", "2.5")
    records, summary = evaluate_gsm8k(sampler, ROWS, shots=1, max_tokens=9)
    assert [record.id for record in records] == ["gsm8k/1", "gsm8k/2"]
    assert summary["accuracy"] == 1.0
    assert sampler.asked[0][:2] == [
        {"role": "user", "content": "What is 3 * 4?"},
        {"role": "assistant", "content": "It is 3 * 4 = 12.\n#### 12"},
    ]
    evaluate_gsm8k(sampler, ROWS[1:], shots=1, examples=ROWS, max_tokens=9)
    assert len(sampler.asked) == 2
    with pytest.raises(UserError, match="shots"):
        evaluate_gsm8k(sampler, ROWS, shots=3, max_tokens=9)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "a"}', "f.jsonl:2: field 'answer': expected text"),
        ('{"question": "", "answer": "#### 1"}', "f.jsonl:2: field 'question'"),
        ('{"question": "a", "answer": "12"}', "field 'answer': expected '#### '"),
        ('{"question": "a", "answer": "1 #### none"}', "field 'answer'"),
        ("[]", "f.jsonl:2: expected a JSON object"),
        ("{", "f.jsonl:2: not JSON"),
    ],
)
def test_bad_rows_are_named(tmp_path, line, said):
    path = tmp_path / "f.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(UserError) as error:
        read_gsm8k(path)
    assert said in str(error.value)


def test_gzip_and_empty_files(tmp_path):
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(ROWS[0]).encode()))
    assert read_gsm8k(path) == ROWS[:1]
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no rows"):
        read_gsm8k(tmp_path / "empty.jsonl")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no shared data at {SHARED}")
def test_every_published_answer_is_right_by_its_own_number():
    for name, n in (("gsm8k_test.jsonl.gz", 1319), ("gsm8k_train.jsonl.gz", 7473)):
        rows = read_gsm8k(SHARED / name)
        replies = [row["answer"].rpartition("####")[2].strip() for row in rows]
        _, summary = evaluate_gsm8k(Scripted(*(f"The answer is ${reply}." for reply in replies)), rows, max_tokens=9)
        assert (summary["n_right"], summary["n"]) == (n, n)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny random model whose tokenizer has no chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate([*letters, "<s>"])}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="<s>")
    config = GPT2Config(
        vocab_size=257, n_positions=256, n_embd=16, n_layer=1, n_head=2, bos_token_id=256, eos_token_id=256
    )
    folder = tmp_path_factory.mktemp("model")
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_command_needs_a_chat_template_or_plain(model_folder, tmp_path, capsys, monkeypatch):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "deep" / "out.json"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    command = ["gsm8k", str(model_folder), "--file", str(rows), "--max", "1", "--max-tokens", "4", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["genesis", *command])
    assert main(command) == 1
    assert "no chat template; use --plain" in capsys.readouterr().err
    assert main([*command, "--plain", "--shots", "1"]) == 0
    assert capsys.readouterr().out.startswith("gsm8k: ")
    report = json.loads(out.read_text())
    assert report["command"].startswith("python -m genesis gsm8k ")
    assert report["device"]["name"]
    assert report["summary"]["n"] == len(report["records"]) == 1
    assert report["records"][0]["meta"]["question"] == ROWS[1]["question"]
    assert main([*command[:-1], str(tmp_path)]) == 1


def test_the_plain_template_renders_questions_and_answers(model_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = PLAIN_TEMPLATE
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<s>Question: a\nAnswer: b\n\nQuestion: c\nAnswer:"
