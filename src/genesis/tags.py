"""The tags that mark explanation, thought and solution in what teacher, student and conversation agent write (RLT).

The tokenizer of this repository has each of them as one ordinary token; any other tokenizer spells them out.
"""

BEGIN_SOLUTION, END_SOLUTION = "<|begin_of_solution|>", "<|end_of_solution|>"
BEGIN_EXPLANATION, END_EXPLANATION = "<|begin_of_explanation|>", "<|end_of_explanation|>"
BEGIN_THOUGHT, END_THOUGHT = "<|begin_of_thought|>", "<|end_of_thought|>"
BLANK = "\n\n"
TAGS = (BEGIN_SOLUTION, END_SOLUTION, BEGIN_EXPLANATION, END_EXPLANATION, BEGIN_THOUGHT, END_THOUGHT)


def thought_and_solution(thought: str, solution: str) -> str:
    """What a student or a conversation agent answers: the thought, then the solution, each in its tags."""
    return f"{BEGIN_THOUGHT}{BLANK}{thought}{END_THOUGHT}{BLANK}{BEGIN_SOLUTION}{solution}{END_SOLUTION}"
