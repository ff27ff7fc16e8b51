"""The sampler for servers that speak OpenAI's chat completions: a hosted model, or vLLM, SGLang, llama.cpp on another machine.

A busy or broken server (429, 5xx, a cut connection) is asked again, ever later; what fails for good ends the call with the
server's words. There is no answer to grade then, so none is made up.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from genesis.common.chat import Message
from genesis.common.errors import UserError
from genesis.samplers.spec import draw_seed
from genesis.sampling import Completion

LONGEST_WAIT_S = 60.0


class OpenAISampler:
    """Asks a server, `jobs` conversations at a time.

    Args:
        model: the server's name for it.
        url: where `/chat/completions` begins, `/v1` included.
        key: sent as bearer token; None where the server wants none.
        tries: how often one conversation is asked.
        wait_s: wait before the second try; it doubles, and a server's Retry-After goes before it.
    """

    def __init__(
        self,
        model: str,
        url: str,
        key: str | None = None,
        *,
        jobs: int = 8,
        tries: int = 6,
        wait_s: float = 1.0,
        timeout_s: float = 300.0,
    ):
        self.model, self.url, self.jobs, self.tries, self.wait_s = model, url.rstrip("/"), jobs, tries, wait_s
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(headers=headers, timeout=timeout_s, limits=httpx.Limits(max_connections=jobs))

    def sample(
        self,
        conversations: list[list[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        """See `Sampler.sample`; whether a seed repeats an answer is the server's affair, and so is greedy at temperature 0.

        Raises:
            UserError: the server refused a conversation, or was not reached in `tries` tries; names which.
        """
        bodies = [self._body(turns, max_tokens, temperature, seed, index) for index, turns in enumerate(conversations)]
        with ThreadPoolExecutor(self.jobs) as pool:
            asked = [
                pool.submit(self._ask, body, f"conversation {k} of {len(bodies)}") for k, body in enumerate(bodies, 1)
            ]
            try:
                return [answer.result() for answer in asked]
            except UserError:
                pool.shutdown(cancel_futures=True)
                raise

    def _body(self, turns: list[Message], max_tokens: int, temperature: float, seed: int, index: int) -> dict[str, Any]:
        body = {"model": self.model, "messages": turns, "max_tokens": max_tokens, "temperature": temperature}
        if temperature > 0:
            body |= {"top_p": 1.0, "seed": draw_seed(seed, index)}
        if (
            turns[-1]["role"] == "assistant"
        ):  # vLLM's and SGLang's names for a prefill; OpenAI's own servers refuse them
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return body

    def _ask(self, body: dict[str, Any], which: str) -> Completion:
        for attempt in range(1, self.tries + 1):
            started = time.perf_counter()
            after = None
            try:
                answer = self.client.post(f"{self.url}/chat/completions", json=body)
                if answer.status_code == 200:
                    return _completion(answer, time.perf_counter() - started, which)
                problem = f"status {answer.status_code}: {_words(answer)}"
                if answer.status_code != 429 and answer.status_code < 500:
                    break
                after = answer.headers.get("retry-after", "")
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            if attempt < self.tries:
                time.sleep(self._wait(attempt, after))
        times = f"after {attempt} tries" if attempt > 1 else "at once"
        raise UserError(f"{self.url}: {which} failed {times}: {problem}")

    def _wait(self, attempt: int, after: str | None) -> float:
        """Seconds until the next try: what the server asks for, else doubling, spread so that threads do not fall in step."""
        if after and after.isdecimal():
            return min(float(after), LONGEST_WAIT_S)
        return min(self.wait_s * 2 ** (attempt - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1.0)


def _completion(answer: httpx.Response, seconds: float, which: str) -> Completion:
    try:
        body = answer.json()
        choice = body["choices"][0]
        text, reason, tokens = choice["message"]["content"], choice["finish_reason"], body["usage"]["completion_tokens"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{answer.url}: {which}: no chat completion: {answer.text[:200]}") from error
    if not isinstance(text, str) or reason not in ("stop", "length"):
        raise UserError(f"{answer.url}: {which}: the server gave no answer to grade (finish_reason {reason})")
    return Completion(text=text, tokens=tokens, finished=reason == "stop", seconds=seconds)


def _words(answer: httpx.Response) -> str:
    """The server's own message, at most 300 characters."""
    try:
        told = answer.json()["error"]
        return str(told.get("message", told) if isinstance(told, dict) else told)[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:300]
