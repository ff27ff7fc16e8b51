"""The texts that teacher and student read, character by character (DESIGN 5.1)."""

import pytest

from genesis.common.errors import UserError
from genesis.common.params import build
from genesis.rlt.pairs import read_pairs
from genesis.rlt.prompts import (
    STUDENT_SYSTEM,
    TEACHER_SYSTEM,
    bare_solution,
    split_completion,
    student_text,
    teacher_prompt,
    teacher_text,
)
from genesis.rlt.settings import Rlt
from genesis.rlt.teacher import _prompt, explain
from genesis.sampling import Completion, TransformersSampler

TEACHER = "<|begin_of_solution|>S.<|end_of_solution|>\n\n<|begin_of_explanation|>\n\n"
STUDENT = "<|begin_of_thought|>\n\nE.<|end_of_thought|>\n\n<|begin_of_solution|>S.<|end_of_solution|>"


@pytest.mark.parametrize(
    ("kind", "head", "end"),
    [
        ("own", "<|bos|><|user_start|>Sys\n\nQ?<|user_end|><|assistant_start|>", "<|assistant_end|>"),
        (
            "gpt4",
            "<|im_start|>system\nSys<|im_end|>\n<|im_start|>user\nQ?<|im_end|>\n<|im_start|>assistant\n",
            "<|im_end|>\n",
        ),
    ],
)
def test_both_texts_are_those_of_the_paper(tokenizers, kind, head, end):
    tokenizer = tokenizers[kind]
    prompt = teacher_prompt(tokenizer, "Q?", "S.", "Sys")
    assert prompt == head + TEACHER
    said = teacher_text(prompt, "E.")
    assert said.text == head + TEACHER + "E.<|end_of_explanation|>"
    assert said.text[slice(*said.explanation)] == "E." and said.text[said.thought :].startswith("\n\nE.")
    after = teacher_text(prompt, "E.<|end_of_explanation|> more<|end_of_explanation|>")
    assert after.text.endswith("E.<|end_of_explanation|> more<|end_of_explanation|>")
    assert after.text[slice(*after.explanation)] == "E."
    read = student_text(tokenizer, "Q?", "S.", "E.", "Sys")
    assert read.text == head + STUDENT + end
    assert read.text[slice(*read.explanation)] == "E." and read.text[slice(*read.solution)] == "S."
    assert read.text[read.thought :].startswith("\n\nE.")
    assert "Sys" not in teacher_prompt(tokenizer, "Q?", "S.", None)


def test_places_are_right_where_the_same_words_stand_elsewhere(tokenizers):
    read = student_text(tokenizers["own"], STUDENT, "S.", STUDENT, STUDENT)
    assert read.text[slice(*read.explanation)] == STUDENT
    assert read.solution == (read.text.rfind("S."), read.text.rfind("S.") + 2)
    assert read.explanation[0] == read.text.rfind(STUDENT, 0, read.solution[0])


def test_completions_and_solutions_are_taken_apart_at_their_tags():
    assert split_completion("a<|end_of_explanation|>b<|end_of_explanation|>") == ("a", False)
    assert split_completion("a<|end_of_expl") == ("a<|end_of_expl", True)
    wrapped = "<|begin_of_solution|>x<|end_of_solution|>"
    assert bare_solution(wrapped) == "x" and bare_solution("x") == "x" and bare_solution(wrapped + " ") == wrapped + " "


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages if m.role == 'assistant' %}{{ m.content }}{% endfor %}", "has no prefill"),
        ("{% for m in messages %}{{ m.role }}{{ m.content | upper }}{% endfor %}", "cannot render"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "cannot render"),
        (
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
            "{{ m.content }}{% endfor %}",
            "cannot render .*no system role",
        ),
    ],
)
def test_a_template_without_prefill_is_refused(tokenizers, template, said):
    tokenizer = tokenizers["gpt4"]
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = template
        with pytest.raises(UserError, match=said):
            teacher_prompt(tokenizer, "Question?", "Solution.", "Sys")
    finally:
        tokenizer.chat_template = own


def test_a_template_that_hides_thoughts_is_refused_for_the_student(tokenizers):
    tokenizer = tokenizers["gpt4"]
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = own.replace("{{ m.content }}", "{{ m.content.split('<|end_of_thought|>')[-1] }}")
        with pytest.raises(UserError, match="drops or rewrites the assistant's turn"):
            student_text(tokenizer, "Q?", "S.", "E.", "Sys")
    finally:
        tokenizer.chat_template = own


@pytest.mark.parametrize("kind", ["own", "gpt4", "gpt2"])
def test_a_sampler_continues_the_text_that_the_reward_expects(tokenizers, models_of, kind):
    row = {"id": "1", "question": "Q?", "solution": "S."}
    rlt = Rlt(teacher_system="T.", student_system="")
    sampler = TransformersSampler(models_of[kind][0], tokenizers[kind], 1)
    ids = sampler.encode(_prompt(row, rlt))
    assert tokenizers[kind].decode(ids) == teacher_prompt(tokenizers[kind], "Q?", "S.", "T.")

    class Echo:
        def sample(self, prompts, **options):
            assert options == {"max_tokens": 9, "temperature": 0.7, "seed": 3}
            return [Completion(str(i), 1, True, 0.0) for i in range(len(prompts))]

    cases = explain(Echo(), [row, {**row, "id": "2"}], rlt, samples=2, max_tokens=9, seed=3)
    assert [(case.id, case.completion) for case in cases] == [("1", "0"), ("1", "1"), ("2", "2"), ("2", "3")]
    assert cases[0].teacher_system == "T." and cases[0].student_system is None


def test_pairs_are_read_by_part_and_a_missing_trace_is_named_by_line(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"question": "q", "solution": "s", "reasoning_trace": "t", "part": "student"}\n'
        '{"question": "q", "solution": "s", "reasoning_trace": null, "part": "teacher"}\n'
        '{"question": "q", "solution": "", "reasoning_trace": "t", "part": "teacher"}\n'
    )
    assert len(read_pairs(path, "student", traced=True)) == 1
    with pytest.raises(
        UserError, match=r"train.jsonl:2: field 'reasoning_trace': expected text, found None.*2 problems"
    ):
        read_pairs(path, "teacher", traced=True)
    with pytest.raises(UserError, match="train.jsonl:3: field 'solution'"):
        read_pairs(path)


def test_the_section_names_its_messages_and_refuses_an_unknown_word():
    assert build(Rlt, {}, "params.yaml: rlt").systems == {
        "teacher_system": TEACHER_SYSTEM,
        "student_system": STUDENT_SYSTEM,
    }
    own = build(Rlt, {"teacher_system": "", "student_system": "Think."}, "params.yaml: rlt")
    assert own.systems == {"teacher_system": None, "student_system": "Think."}
    with pytest.raises(UserError, match="rlt.on_overflow: expected drop or refuse, found 'dorp'"):
        build(Rlt, {"on_overflow": "dorp"}, "params.yaml: rlt")
