r"""The texts that teacher and student read (RLT, arXiv 2506.08388), with the places of explanation and solution.

The teacher is asked the question and prefilled with the solution and the opening of an explanation; the student is
shown question, explanation and solution. The prefill ends with a blank line, which opens the student's thought:

    teacher  <|begin_of_solution|>{s}<|end_of_solution|>\n\n<|begin_of_explanation|>\n\n  +  {e}<|end_of_explanation|>…
    student  <|begin_of_thought|>\n\n{e}<|end_of_thought|>\n\n<|begin_of_solution|>{s}<|end_of_solution|>

The two default system messages are those of RLT's own data preparation (SakanaAI/RLT, `run_cfg/teacher_rlt`), kept word
for word, its spelling included: they are what its published teachers and students were trained with.
"""

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from genesis.common.chat import Message
from genesis.common.errors import UserError
from genesis.tags import (
    BEGIN_EXPLANATION,
    BEGIN_SOLUTION,
    BEGIN_THOUGHT,
    BLANK,
    END_EXPLANATION,
    END_SOLUTION,
    thought_and_solution,
)

TEACHER_SYSTEM = (
    "Your role as an assistant involves providing precise and accurate solutions before providing detailed "
    "explanations with your full work showing your systematic thinking process leading to each solution. Your "
    "explanations should show how you engaged in a comprehensive cycle of analysis, summarizing, exploration, "
    "reassessment, reflection, backtracing, and iteration to develop well-considered thinking process. Please "
    "structure your response into two main sections: Solution and Explanation. In the Solution section, present your "
    "well-thought solution that accurately answers the question. The solution should remain a logical, accurate, "
    "concise expression style and detail necessary step needed to reach the conclusion, formatted as follows: "
    "<|begin_of_solution|> {final formatted, precise, and clear solution} <|end_of_solution|>. In the Explanation "
    "section, comprehensively detail your reasoning process using the specified format: <|begin_of_explanation|> "
    "{explanation with steps separated with '\\n\\n'} <|end_of_explanation|> Each step should show detailed "
    "considerations leading to your solutions such as analisying questions, summarizing relevant findings, "
    "brainstorming new ideas, verifying the accuracy of the current steps, refining any errors, and revisiting "
    "previous steps. "
)
STUDENT_SYSTEM = (
    "Your role as an assistant involves thoroughly exploring questions through a systematic long thinking process "
    "before providing the final precise and accurate solutions. This requires engaging in a comprehensive cycle of "
    "analysis, summarizing, exploration, reassessment, reflection, backtracing, and iteration to develop "
    "well-considered thinking process. Please structure your response into two main sections: Thought and Solution. "
    "In the Thought section, detail your reasoning process using the specified format: <|begin_of_thought|> {thought "
    "with steps separated with '\\n\\n'} <|end_of_thought|> Each step should include detailed considerations such as "
    "analisying questions, summarizing relevant findings, brainstorming new ideas, verifying the accuracy of the "
    "current steps, refining any errors, and revisiting previous steps. In the Solution section, based on various "
    "attempts, explorations, and reflections from the Thought section, systematically present the final solution that "
    "you deem correct. The solution should remain a logical, accurate, concise expression style and detail necessary "
    "step needed to reach the conclusion, formatted as follows: <|begin_of_solution|> {final formatted, precise, and "
    "clear solution} <|end_of_solution|> Now, try to solve the following question through the above guidelines:"
)

Span = tuple[int, int]


@dataclass(frozen=True)
class Text:
    """A rendered conversation; all places are character positions, spans half open.

    Attributes:
        text: what the model reads.
        thought: where the blank line before the explanation begins, right after the opening tag.
        explanation: the explanation.
        solution: the solution without its tags (of a student's text; a teacher's is not scored).
    """

    text: str
    thought: int
    explanation: Span
    solution: Span | None = None


def split_completion(completion: str) -> tuple[str, bool]:
    """Give the explanation, which ends at the first end tag, and whether that tag is missing."""
    explanation, tag, _ = completion.partition(END_EXPLANATION)
    return explanation, not tag


def bare_solution(solution: str) -> str:
    """Take the solution out of its tags where the data set already wrapped it."""
    if solution.startswith(BEGIN_SOLUTION) and solution.endswith(END_SOLUTION):
        return solution[len(BEGIN_SOLUTION) : -len(END_SOLUTION)]
    return solution


def teacher_prompt(tokenizer: Any, question: str, solution: str, system: str | None = TEACHER_SYSTEM) -> str:
    """Render the prompt that the teacher continues with an explanation; `system` None leaves that message out.

    Raises:
        UserError: the tokenizer's chat template cannot leave an assistant turn open, or changes what stands in it.
    """
    opening = teacher_opening(solution)
    prompt = _render(tokenizer, system, question, opening, continue_final_message=True)
    if not prompt.endswith(opening) or question.strip() not in prompt[: -len(opening)]:
        raise UserError(
            f"{tokenizer.name_or_path}: the chat template has no prefill: it drops, moves or rewrites the start of an "
            "assistant turn; use a tokenizer whose template leaves a last assistant turn open, contents unchanged"
        )
    # Added by hand: some templates strip white space from the end of a turn.
    return prompt + BLANK


def teacher_opening(solution: str) -> str:
    """The beginning of the teacher's turn, up to the tag that opens the explanation; a blank line follows it."""
    return f"{BEGIN_SOLUTION}{bare_solution(solution)}{END_SOLUTION}{BLANK}{BEGIN_EXPLANATION}"


def teacher_text(prompt: str, completion: str) -> Text:
    """Put a completion behind its prompt, the end tag appended where it is missing."""
    explanation, malformed = split_completion(completion)
    start = len(prompt)
    text = prompt + completion + (END_EXPLANATION if malformed else "")
    return Text(text, start - len(BLANK), (start, start + len(explanation)))


def student_text(
    tokenizer: Any, question: str, solution: str, explanation: str, system: str | None = STUDENT_SYSTEM
) -> Text:
    """Render what the student reads; of the solution, only what comes before an end tag of its own is scored.

    Raises:
        UserError: the chat template changes the assistant's turn.
    """
    solution = bare_solution(solution)
    content = thought_and_solution(explanation, solution)
    text = _render(tokenizer, system, question, content)
    start = text.rfind(content)
    if start < 0:
        raise UserError(
            f"{tokenizer.name_or_path}: the chat template drops or rewrites the assistant's turn; "
            "use a tokenizer whose template leaves contents unchanged"
        )
    thought = start + len(BEGIN_THOUGHT)
    first = thought + len(BLANK)
    answer = start + len(content) - len(solution) - len(END_SOLUTION)
    scored = len(solution.partition(END_SOLUTION)[0])
    return Text(text, thought, (first, first + len(explanation)), (answer, answer + scored))


def asked(question: str, system: str | None) -> list[Message]:
    """The turns in front of the assistant's."""
    opening: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return [*opening, {"role": "user", "content": question}]


def _render(tokenizer: Any, system: str | None, question: str, answer: str, **options: bool) -> str:
    messages: list[Message] = [*asked(question, system), {"role": "assistant", "content": answer}]
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except (TemplateError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{tokenizer.name_or_path}: the chat template cannot render system, question and an assistant turn to "
            f"continue ({reason[:200]}); use a tokenizer whose template takes a system message and a prefill"
        ) from error
