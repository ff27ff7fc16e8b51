"""The pull request comment on a repository of two commits: true, short, and clear about what is damaged or absent."""

import json
import subprocess

import pytest
import yaml

from genesis.__main__ import main
from genesis.common.errors import UserError
from genesis.report.pull_request import metrics as m
from genesis.report.pull_request.comment import LIMIT, MARKER, comment, fitted
from genesis.report.pull_request.metrics import Change, Value, within_noise

PRICE = {"declared": {"price": {"usd_per_hour": 3.6}}, "total_usd": 2.0, "training_usd": None}
BASE = {
    "agents": {
        "mean_held_out": 0.60, "mean_held_out_low": 0.55, "mean_held_out_high": 0.65,
        "mean_scenarios": 0.50, "mean_scenarios_low": 0.40, "mean_scenarios_high": 0.60,
        "mean_latency_p50_s": 0.100, "qa_held_out": 0.5, "qa_held_out_low": 0.4, "qa_held_out_high": 0.6,
    },
    "loss": {"pretrain_bpb": 2.0, "pretrain_tokens": 1000, "chat_val_loss": 1.5},
    "core": {"core": None, "core_mini": 0.1},
    "safety": {"unsafe_rate_pair": 0.2},
    "cost": PRICE,
    "usage": {"corpus": {"active_s": 100.0, "device": "cpu"}, "chat": {"active_s": 60.0, "device": "cpu"}},
}  # fmt: skip
GATE = {"name": "agent_accuracy", "label": "Mean accuracy", "comparison": ">=", "target": 0.7, "unit": "share"}
LOCK = {
    "corpus": {"cmd": "c", "deps": [{"path": "src/a.py", "md5": "1"}], "outs": [{"path": "data/corpus", "md5": "1"}]},
    "chat": {
        "cmd": "t",
        "deps": [{"path": "data/corpus/train", "md5": "1"}, {"path": "src/b.py", "md5": "1"}],
        "params": {"params.yaml": {"chat": {"epochs": 1}}},
        "outs": [{"path": "models/chat", "md5": "1"}],
    },
    "finetune@qa": {"cmd": "f", "deps": [{"path": "models/chat/model", "md5": "1"}], "outs": [{"path": "m/qa", "md5": "1"}]},
    "finetune@seo": {"cmd": "f", "deps": [{"path": "models/chat/model", "md5": "1"}], "outs": [{"path": "m/seo", "md5": "1"}]},
}  # fmt: skip


class Repository:
    """A git repository whose metrics, params and lock can be rewritten."""

    def __init__(self, root):
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "tester")
        self.git("config", "user.email", "tester@example.com")

    def git(self, *args):
        subprocess.run(["git", "-C", self.root, *args], check=True, capture_output=True)

    def write(self, path, content):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content, encoding="utf-8")

    def metrics(self, name, **changes):
        self.write(f"metrics/{name}.json", json.dumps({**BASE.get(name, {}), **changes}))

    def gate(self, value, verdict):
        self.write("metrics/gates.json", json.dumps({"agent_accuracy": {**GATE, "value": value, "verdict": verdict}}))

    def lock(self, stages):
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-qm", "state", "--allow-empty")


@pytest.fixture
def repository(tmp_path):
    """`main` with every file; a branch is checked out on top of it."""
    made = Repository(tmp_path)
    for name in BASE:
        made.metrics(name)
    made.gate(0.6, "not met")
    made.lock(LOCK)
    made.write("params.yaml", yaml.safe_dump({"agents": ["qa", "seo"], "chat": {"epochs": 1}}))
    made.write("reports/plots/agents.svg", "<svg>1</svg>")
    made.write("reports/plots/roi.svg", "<svg>1</svg>")
    made.commit()
    made.git("checkout", "-qb", "change")
    return made


def row(text, name):
    """The table row that starts with a name."""
    return next(line for line in text.splitlines() if line.startswith(f"| `{name}`") or line.startswith(f"| {name} "))


def test_the_same_commit_says_that_nothing_changed(repository):
    text = comment(repository.root, "main")
    assert text.startswith(f"{MARKER}\n## ⚪ Nothing changed\n") and text.count("\n") == 4


def test_metrics_that_moved_are_judged_by_direction_and_interval(repository):
    repository.metrics("agents", mean_held_out=0.8, mean_held_out_low=0.76, mean_held_out_high=0.84, mean_scenarios=0.55,
                       mean_scenarios_low=0.45, mean_scenarios_high=0.65, mean_latency_p50_s=0.105)  # fmt: skip
    repository.metrics("loss", pretrain_bpb=2.2, pretrain_tokens=2000)
    repository.metrics("safety", unsafe_rate_pair=None)
    repository.commit()
    text = comment(repository.root, "main")
    assert text.splitlines()[:2] == [MARKER, "## 🟡 Mixed: 1 better, 2 worse"]
    assert row(text, "mean_held_out").endswith("| +20.0\N{NO-BREAK SPACE}points | 🟢 better |")
    assert row(text, "mean_scenarios").endswith("⚪ within noise |")
    assert row(text, "mean_latency_p50_s").endswith("⚪ within noise |")
    assert row(text, "pretrain_bpb").endswith("🔴 worse |")
    assert row(text, "pretrain_tokens").endswith("|  |"), "no direction is known: no mark"
    assert row(text, "unsafe_rate_pair").endswith("🔴 no longer measured |")
    assert "`chat_val_loss`" not in text and "_low`" not in text, "what did not change is not shown"


def test_a_lost_gate_is_the_verdict_whatever_got_better(repository):
    repository.git("checkout", "-q", "main")
    repository.gate(0.75, "met")
    repository.commit()
    repository.git("checkout", "-qb", "worse")
    repository.gate(0.65, "not met")
    repository.metrics("loss", pretrain_bpb=1.0)
    text = comment(repository.root, "main")
    assert "## 🔴 No longer met: Mean accuracy" in text and "**0 of 1 met** (was 1)" in text
    assert row(text, "Mean accuracy") == (
        "| Mean accuracy | >= 70.0\N{NO-BREAK SPACE}% | 🟢 met, 75.0\N{NO-BREAK SPACE}% | 🔴 not met, 65.0\N{NO-BREAK SPACE}% |"
    )


def test_a_branch_is_compared_with_the_commit_where_it_left_the_base(repository):
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.metrics("loss", pretrain_bpb=1.0)
    repository.commit()
    repository.git("checkout", "-q", "change")
    assert "Nothing changed" in comment(repository.root, "main"), "what main did since is not this branch's doing"


def test_what_ran_again_has_its_cause_and_measured_cost(repository):
    chat, qa = LOCK["chat"], LOCK["finetune@qa"]
    changed = {
        **chat,
        "params": {"params.yaml": {"chat": {"epochs": 3}}},
        "outs": [{"path": "models/chat", "md5": "2"}],
    }
    follower = {**qa, "deps": [{"path": "models/chat/model", "md5": "2"}]}
    repository.lock({**LOCK, "chat": changed, "finetune@qa": follower})
    repository.metrics("usage", chat={"active_s": 90.0, "device": "cpu"})
    repository.write("params.yaml", yaml.safe_dump({"agents": ["qa", "seo", "new"], "chat": {"epochs": 3}}))
    text = comment(repository.root, "main")
    assert (
        "The change cost **$0.090** (1\N{NO-BREAK SPACE}min 30\N{NO-BREAK SPACE}s measured, of $2.00 for the whole run)."
        in text
    )
    assert row(text, "chat") == "| chat | `chat.epochs` | 1\N{NO-BREAK SPACE}min 30\N{NO-BREAK SPACE}s | $0.090 |"
    assert row(text, "finetune").startswith("| finetune (1 of 2) | follows chat |")
    assert row(text, "chat.epochs") == "| `chat.epochs` | `1` | `3` |"
    assert row(text, "agents") == "| `agents` |  | with `new` |"
    assert "| corpus |" not in text, "a stage that did not run is not named"


def test_a_changed_price_costs_nothing_and_is_named(repository):
    repository.metrics("cost", declared={"price": {"usd_per_hour": 7.2}}, total_usd=4.0)
    text = comment(repository.root, "main")
    assert "The change cost nothing: no measured stage ran again." in text
    assert row(text, "declared price.usd_per_hour") == "| `declared price.usd_per_hour` | `3.6` | `7.2` |"
    assert "## ⚪ No metric moved beyond noise" in text, "money is no quality"
    assert row(text, "total_usd").endswith("| +100.0\N{NO-BREAK SPACE}% | 🔴 worse |")


def test_only_changed_plots_are_shown_before_and_after(repository):
    repository.write("reports/plots/agents.svg", "<svg>2</svg>")
    assert "![agents](./reports/plots/agents.svg)" in comment(repository.root, "main")
    address = "https://github.com/owner/name"
    assert "agents**: changed, not committed" in comment(repository.root, "main", address)
    repository.commit()
    text = comment(repository.root, "main", address)
    old, new = (
        subprocess.check_output(["git", "-C", repository.root, "rev-parse", name], text=True).strip()
        for name in ("main", "HEAD")
    )
    assert f"![agents, before]({address}/raw/{old}/reports/plots/agents.svg)" in text
    assert f"![agents, after]({address}/raw/{new}/reports/plots/agents.svg)" in text
    assert "roi.svg" not in text


def test_values_cannot_break_out_of_their_cell(repository):
    repository.write("params.yaml", yaml.safe_dump({"agents": ["qa"], "note": "`</details>` @someone | x\n# y"}))
    text = comment(repository.root, "main")
    assert row(text, "note") == "| `note` | – | `'</details>' @someone \\| x # y` |"


def test_the_long_tail_is_folded_and_the_limit_of_a_comment_kept(repository):
    repository.metrics("agents", **{f"qa_part{k}_held_out": k / 3000 for k in range(3000)})
    text = comment(repository.root, "main")
    assert len(text) <= LIMIT and "Parts are left out" in text and "## ⚪" in text
    whole = fitted(["head", "x" * LIMIT, "short"], ["tail"], "foot")
    assert whole.startswith("head\n\nshort\n\ntail\n\nfoot") and "Parts are left out" in whole
    repository.metrics("agents", qa_held_out=0.9, qa_held_out_low=0.8, qa_held_out_high=0.95)
    text = comment(repository.root, "main")
    assert text.index("<details>") < text.index("`qa_held_out`") and len(text) < 3000


@pytest.mark.parametrize("side", ["main", "change"])
@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("metrics/loss.json", '{"pretrain_bpb": 1,\n', "metrics/loss.json:2: not JSON"),
        ("metrics/loss.json", '{"pretrain_bpb": NaN}', "metrics/loss.json: NaN is not a JSON value"),
        ("metrics/loss.json", '{"pretrain_bpb": "low"}', "metrics/loss.json: pretrain_bpb: expected a number or null"),
        ("dvc.lock", "stages: [", "dvc.lock: not YAML"),
    ],
)
def test_a_damaged_file_is_named_with_its_side(repository, monkeypatch, capsys, side, path, content, said):
    monkeypatch.chdir(repository.root)
    good = (repository.root / path).read_text()
    repository.git("checkout", "-q", side)
    repository.write(path, content)
    repository.commit()
    if side == "main":
        repository.git("checkout", "-qB", "change")
        repository.write(path, good)
        repository.commit()
    assert main(["pr-comment", "--base", "main"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {'main:' if side == 'main' else ''}{said}")


def test_a_missing_base_repository_or_metrics_is_told(repository, tmp_path_factory):
    with pytest.raises(UserError, match=r"--base nowhere: no such commit here; bring it \(`git fetch origin nowhere"):
        comment(repository.root, "nowhere")
    with pytest.raises(UserError, match="not a git repository"):
        comment(tmp_path_factory.mktemp("plain"), "main")
    for path in (repository.root / "metrics").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="metrics/: none of this branch's files is here; run `dvc repro`"):
        comment(repository.root, "main")


def test_a_base_without_metrics_has_nothing_to_compare(repository):
    repository.git("rm", "-rq", "metrics")
    repository.commit()
    repository.git("branch", "bare")
    for name in BASE:
        repository.metrics(name)
    repository.gate(0.6, "not met")
    text = comment(repository.root, "bare")
    assert "Nothing changed" not in text and "## ⚪ First metrics: the base has none" in text
    assert "mean_held_out" not in text and "**0 of 1 met**" in text


def test_the_command_writes_a_file(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(repository.root)
    assert main(["pr-comment", "--base", "main", "--out", str(tmp_path / "comment.md")]) == 0
    assert (tmp_path / "comment.md").read_text().startswith(MARKER)


def test_noise_is_the_interval_of_the_difference():
    old, band = Value(0.5, 0.4, 0.6), 0.0
    assert within_noise(old, Value(0.64, 0.54, 0.74), band), "the half-widths add as standard errors do: 0.141"
    assert not within_noise(old, Value(0.65, 0.55, 0.75), band)
    assert not within_noise(Value(0.65, 0.55, 0.75), old, band)
    assert not within_noise(Value(0.5), Value(0.500001), band) and within_noise(Value(1.0), Value(1.1), 0.1)


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        ("pretrain_bpb", m.WORSE),
        ("finetune_qa_val_loss", m.WORSE),
        ("chat_val_loss_start", m.UNJUDGED),
        ("mean_before", m.UNJUDGED),
        ("mean_unseen_frames", m.BETTER),
        ("core_mini", m.BETTER),
        ("total_usd", m.WORSE),
        ("savings_usd", m.BETTER),
        ("unsafe_rate_pair", m.WORSE),
        ("unsafe_rate_before", m.UNJUDGED),
        ("overrefusal_reduction", m.BETTER),
        ("mean_tokens_per_s", m.BETTER),
        ("pretrain_tokens", m.UNJUDGED),
        ("a_key_of_tomorrow", m.UNJUDGED),
    ],
)
def test_every_kind_of_key_has_its_direction(key, verdict):
    assert Change("metrics/x.json", key, Value(20.0), Value(40.0), False).verdict == verdict
