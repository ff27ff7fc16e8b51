"""The page as a browser shows it, and what both documents promise: the same bytes, nothing invented, nothing injected."""

import json
import re
import shutil
import subprocess
from argparse import ArgumentParser
from pathlib import Path

import pytest
import yaml

from genesis.browser import Browser, find_chromium
from genesis.commands import publish, screenshots
from genesis.common.errors import UserError
from genesis.report.facts import read_facts
from genesis.report.page import report

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\"> {{ 7 * 7 }}"
RATES = ("unsafe_rate", "overrefusal_rate", "incoherent_rate")
ROWS = ("chat", "before", "overcautious", "solutions", "source", "sft", "rl", "feedback_untrained", "pair")


@pytest.fixture(scope="module")
def whole(trained, tmp_path_factory):
    """A repository with both tracks, its safety figures made up, and its page; treat it as read-only."""
    root = tmp_path_factory.mktemp("whole") / "repository"
    shutil.copytree(trained, root)
    values = json.loads((root / "metrics/safety.json").read_text())
    for number, row in enumerate(ROWS):
        for rate in RATES:
            share = 0.9 / (1 + number)
            values |= {f"{row}_{rate}": share, f"{row}_{rate}_low": share - 0.05, f"{row}_{rate}_high": share + 0.05}
    values |= {"judge_agreement": 0.934, "judge_agreement_low": 0.92, "judge_agreement_high": 0.95}
    values |= {"pair_flag_accuracy": 0.81, "rlt_reward_gain": 0.25}
    put(root / "metrics/safety.json", values)
    with (root / "metrics/curves.csv").open("a") as file:
        for step in range(5):
            file.write(f"rlt_rl,,{step},{step},0.1,,{step - 2.0},-1.0,0.5,-0.1,0.2,0.1\n")
            file.write(f"waltz_sft,pair,{step},{step},{2.0 - step / 9},,,,,,,\n")
            file.write(f"waltz_rl,feedback,{step},{step},0.1,,{step / 9},,,,,\n")
    put(root / "data/safety/quality.json", {"rows": {"train": 1800, "val": 200}, "families": 160, "flags": []})
    rows = [answer(number, label) for label in ("unsafe", "benign") for number in range(3)]
    folder = root / "data/evals/safety/pair"
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report(root, root / "reports")
    return root


@pytest.fixture(scope="module")
def browser():
    if find_chromium() is None:
        pytest.skip("no Chromium on PATH")
    with Browser() as found:
        yield found


def put(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def answer(number: int, label: str) -> dict:
    row = {"id": f"{label}-{number}", "output": HOSTILE, "verdict": number == 0, "grader": "refusal", "seconds": 0.1}
    prompt = f"a prompt that is {label} {HOSTILE}"
    return {**row, "failed": None, "meta": {"part": label, "category": "arson", "prompt": prompt, "detail": HOSTILE}}


def show(browser, root, width: int, dark: bool = False) -> None:
    browser.open((root / "reports/index.html").as_uri(), width, dark=dark)
    browser.wait("document.documentElement.dataset.drawn !== undefined")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False), (390, True)])
def test_every_chart_is_drawn_without_error_request_or_sideways_scrolling(browser, whole, width, dark):
    show(browser, whole, width, dark)
    charts = browser.evaluate("document.querySelectorAll('[data-chart]').length")
    assert charts >= 16 and browser.evaluate("document.documentElement.dataset.drawn") == str(charts)
    assert browser.evaluate("document.querySelectorAll('figure .absent').length") == 0
    assert browser.problems == []
    assert browser.requests == [(whole / "reports/index.html").as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    outside = "[...document.querySelectorAll('.chart svg, .card, h3')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    assert browser.evaluate(f"{outside}.length") == 0
    light = browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light != dark


def test_the_browser_sees_what_a_page_does_wrong(browser, tmp_path):
    """The checks above can fail."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/index.html").write_text(
        "<!doctype html><html data-drawn=1><img src='http://127.0.0.1:9/a.png'><script>console.error('odd'); gone()</script>"
    )
    show(browser, tmp_path, 1440)
    assert any("odd" in text for text in browser.problems) and any("gone" in text for text in browser.problems)
    assert "http://127.0.0.1:9/a.png" in browser.requests


def test_the_button_turns_the_page_dark_and_charts_follow(browser, whole):
    show(browser, whole, 1440)
    colour = "getComputedStyle(document.querySelector('[data-chart=pretrain_bpb] .mark-line path')).stroke"
    before = browser.evaluate(colour)
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    assert browser.evaluate(colour) != before


def test_a_curve_tells_its_values_under_the_pointer(browser, whole):
    show(browser, whole, 1440)
    browser.evaluate("document.querySelector('[data-chart=rlt_reward]').scrollIntoView({block: 'center'})")
    box = browser.evaluate(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('[data-chart=rlt_reward] svg').getBoundingClientRect())"
    )
    for shift in (0, 3, 6):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + shift, y=box[1] + shift)
    browser.wait("document.querySelector('#vg-tooltip-element.visible')")
    text = browser.evaluate("document.querySelector('#vg-tooltip-element').innerText")
    assert "step" in text and re.search(r"-?[\u2212\d]", text) and "undefined" not in text


def test_hostile_answers_stay_text_and_unsafe_ones_stay_closed(browser, whole):
    page = (whole / "reports/index.html").read_text()
    assert "<script>document.title" not in page and "<img src=x" not in page
    show(browser, whole, 1440)
    assert browser.evaluate("document.title").startswith("Genesis")
    browser.evaluate("document.querySelectorAll('#samples > details').forEach(e => e.open = true)")
    shown = browser.evaluate("document.querySelector('#samples').innerText")
    assert "a prompt that is benign </script>" in shown and "{{ 7 * 7 }}" in shown
    assert "a prompt that is unsafe" not in shown
    hidden = "[...document.querySelectorAll('#samples details.unsafe')]"
    assert browser.evaluate(f"{hidden}.length") == 2
    assert browser.evaluate(f"{hidden}.every(e => !e.open && e.textContent.includes('a prompt that is unsafe'))")


def test_the_same_files_give_the_same_bytes(whole, tmp_path):
    report(whole, tmp_path / "again")
    made = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.*")}
    assert {whole / "reports" / path for path in made} == set((whole / "reports").rglob("*.*"))
    assert all((whole / "reports" / path).read_bytes() == data for path, data in made.items())


def test_safety_rows_stand_with_their_intervals(whole):
    text = (whole / "reports/report.md").read_text()
    assert "| **trained pair** | **10.0 % (5.0–15.0 %)** |" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "| judge agreement | 93.4 % (92.0–95.0 %) |" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "train 1,800, val 200" in (whole / "reports/index.html").read_text()


def test_an_agent_with_a_test_file_of_its_own_is_told_by_it(trained, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(trained, root)
    values = json.loads((root / "metrics/agents.json").read_text())
    values |= {
        "qa_before": 0.0,
        "qa_held_out": 0.874,
        "qa_test": 0.874,
        "qa_new_values": None,
        "qa_unseen_frames": None,
    }
    put(root / "metrics/agents.json", values)
    quality = json.loads((root / "data/agents/qa/quality.json").read_text())
    put(root / "data/agents/qa/quality.json", {**quality, "test_parts": {"test": 3079}})
    report(root, root / "reports")
    text = (root / "reports/report.md").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "| qa | 0.0 % | 87.4 % | not measured | not measured |" in text
    assert "3,079" in (root / "reports/index.html").read_text()


def test_an_untrained_repository_shows_not_measured_and_invents_nothing(browser, untrained):
    report(untrained, untrained / "reports")
    show(browser, untrained, 390)
    assert browser.problems == [] and browser.evaluate("document.documentElement.scrollWidth") == 390
    page = (untrained / "reports/index.html").read_text()
    assert page.count("not measured") > 50 and "The safety track was not measured in this run" in page
    cards = browser.evaluate("[...document.querySelectorAll('.card')].map(e => e.innerText)")
    assert len(cards) == 8 and all("not measured" in card for card in cards)
    report_md = (untrained / "reports/report.md").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert " 0.0 %" not in report_md and "$0.00" not in report_md


def test_digests_follow_what_they_name(trained, tmp_path):
    root = tmp_path / "repository"
    shutil.copytree(trained, root)
    lock = {
        "stages": {
            "pretrain": {"deps": [{"path": "src/genesis/sft.py", "md5": "1"}, {"path": "data/seed/a", "md5": "2"}]}
        }
    }
    lock["stages"]["pretrain"]["outs"] = [{"path": "models/base", "md5": "3"}]

    def digests() -> list[str | None]:
        (root / "dvc.lock").write_text(yaml.safe_dump(lock))
        facts = read_facts(root)
        return [facts.code, facts.data, facts.lock]

    before = digests()
    lock["stages"]["pretrain"]["deps"][0]["md5"] = "9"
    after = digests()
    assert None not in before and [a == b for a, b in zip(before, after, strict=True)] == [False, True, True]
    assert read_facts(root, "abc1234").commit == "abc1234"


def test_screenshots_are_pictures_of_the_whole_page_or_of_a_section(browser, untrained, tmp_path, monkeypatch):
    monkeypatch.chdir(untrained)
    report(untrained, untrained / "reports")
    parser = ArgumentParser()
    screenshots.arguments(parser)
    assert screenshots.run(parser.parse_args(["--out", str(tmp_path / "shots")])) == 0
    sizes = {path.stem: png_size(path) for path in (tmp_path / "shots").glob("*.png")}
    assert {name: width for name, (width, _) in sizes.items()} == {"desktop": 1440, "dark": 1440, "phone": 780}
    assert all(height > 2000 for _, height in sizes.values())
    assert screenshots.run(parser.parse_args(["--section", "summary", "--out", str(tmp_path / "parts")])) == 0
    parts = {path.stem: png_size(path) for path in (tmp_path / "parts").glob("*.png")}
    assert set(parts) == {"desktop-summary", "dark-summary", "phone-summary"}
    assert parts["desktop-summary"][1] < sizes["desktop"][1] / 2
    with pytest.raises(UserError, match="no section 'nope'; expected one of summary, pipeline,"):
        screenshots.run(parser.parse_args(["--section", "nope"]))
    with pytest.raises(UserError, match="no such file"):
        screenshots.run(parser.parse_args(["--page", "gone.html"]))


def png_size(path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_the_published_copy_names_the_commit_and_the_stages_own_does_not(untrained, monkeypatch, capsys):
    monkeypatch.chdir(untrained)
    with pytest.raises(UserError, match="no commit to show"):
        publish.head()
    for words in (
        ["init", "-q"],
        ["add", "dvc.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *words], check=True)
    commit = publish.head()
    parser = ArgumentParser()
    publish.arguments(parser)
    assert publish.run(parser.parse_args(["--out", "public"])) == 0 and "public/index.html" in capsys.readouterr().out
    assert len(commit) == 40 and commit in Path("public/index.html").read_text()
    with Path("dvc.yaml").open("a") as file:
        file.write("\n")
    assert publish.head() == f"{commit} with changes"
