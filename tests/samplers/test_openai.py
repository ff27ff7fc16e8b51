import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genesis.common.chat import user_turn
from genesis.common.errors import UserError
from genesis.samplers.openai import OpenAISampler
from genesis.samplers.spec import open_sampler


class Server(ThreadingHTTPServer):
    """Answers each request with what `reply` makes of its number and body: (status, headers, JSON or text)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.reply = [], lambda number, body: (200, {}, answer(body["messages"][-1]["content"].upper()))
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append({**body, "path": self.path, "key": self.headers["authorization"]})
        status, headers, content = self.server.reply(len(self.server.requests), body)
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Say nothing."""


def answer(text, reason="stop"):
    return {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": {"completion_tokens": 3}}


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server, *texts, **options):
    sampler = OpenAISampler("small", server.url, "secret", wait_s=0.01)
    return sampler.sample([user_turn(text) for text in texts], **{"max_tokens": 5, **options})


def test_answers_come_in_order_with_the_key_and_greedy(server):
    texts = [f"question {number}" for number in range(20)]
    answers = ask(server, *texts)
    assert [answer.text for answer in answers] == [text.upper() for text in texts]
    assert all(answer.finished and answer.tokens == 3 and answer.seconds > 0 for answer in answers)
    request = server.requests[0]
    assert (request["path"], request["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("small", 5, 0.0)
    assert "seed" not in request and "continue_final_message" not in request


def test_equal_prompts_get_seeds_of_their_own_that_repeat(server):
    def seeds(seed):
        server.requests.clear()
        ask(server, "same", "same", "same", temperature=0.7, seed=seed)
        return sorted(request["seed"] for request in server.requests)

    assert len(set(seeds(1))) == 3 and seeds(1) == seeds(1) != seeds(2)


def test_a_last_assistant_turn_asks_to_be_continued_and_a_limit_is_no_end(server):
    server.reply = lambda number, body: (200, {}, answer("morning", "length"))
    turns = [*user_turn("Hi"), {"role": "assistant", "content": "Good "}]
    made = OpenAISampler("small", server.url).sample([turns], max_tokens=5)
    assert (made[0].text, made[0].finished) == ("morning", False)
    request = server.requests[0]
    assert request["continue_final_message"] is True and request["add_generation_prompt"] is False
    assert request["key"] is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, status):
    busy = (status, {"retry-after": "0"}, {"error": {"message": "later"}})
    server.reply = lambda number, body: busy if number < 3 else (200, {}, answer("there"))
    assert ask(server, "Hi")[0].text == "there"
    assert len(server.requests) == 3


def test_what_fails_for_good_is_an_error_and_no_answer(server):
    server.reply = lambda number, body: (429, {}, {"error": {"message": "quota is spent"}})
    with pytest.raises(UserError, match=r"conversation 1 of 1 failed after 6 tries: status 429: quota is spent"):
        ask(server, "Hi")
    server.requests.clear()
    server.reply = lambda number, body: (401, {}, {"error": "no such key"})
    with pytest.raises(UserError, match="failed at once: status 401: no such key"):
        ask(server, "Hi")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<html>", "no chat completion: <html>"),
        ({"choices": []}, "no chat completion"),
        (answer(None, "content_filter"), r"no answer to grade \(finish_reason content_filter\)"),
    ],
)
def test_a_reply_without_an_answer_is_an_error(server, content, says):
    server.reply = lambda number, body: (200, {}, content)
    with pytest.raises(UserError, match=says):
        ask(server, "Hi")


def test_a_server_that_is_not_there_is_named():
    sampler = OpenAISampler("small", "http://127.0.0.1:9/v1", tries=2, wait_s=0.01)
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/v1: conversation 1 of 1 failed after 2 tries"):
        sampler.sample([user_turn("Hi")], max_tokens=5)


def test_one_word_opens_any_sampler(server, monkeypatch, tiny_folder):
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    sampler = open_sampler(f"openai:org/model@v2@{server.url}", batch_size=3)
    assert (sampler.model, sampler.url, sampler.jobs) == ("org/model@v2", server.url, 3)
    sampler.sample([user_turn("Hi")], max_tokens=5)
    assert server.requests[0]["key"] == "Bearer from the environment"
    assert open_sampler(str(tiny_folder)).sample([user_turn("Hi")], max_tokens=2)[0].tokens <= 2
    with pytest.raises(UserError, match="expected openai:MODEL@URL"):
        open_sampler("openai:model")
