"""All charts of the report (Vega-Altair), by name; a chart without data is left out."""

from typing import Any

from genesis.report import bars, learning, safety
from genesis.report.facts import PARTS, Facts
from genesis.report.theme import Palette, finish

LOSS = "training loss (nats a token)"


def all_charts(facts: Facts, colours: Palette) -> dict[str, dict[str, Any]]:
    """Every chart that has data, by name, as Vega-Lite."""
    found = {
        "pretrain_bpb": learning.curve(facts, "pretrain", "bpb", "bits per byte", colours),
        "pretrain_loss": learning.curve(facts, "pretrain", "loss", LOSS, colours),
        "chat_loss": learning.curve(facts, "chat", "loss", LOSS, colours),
        "finetune_loss": learning.fleet(facts, "finetune", "loss", LOSS, colours),
        "safety_loss": learning.several(facts, learning.WARM_UPS, "loss", LOSS, colours),
        "rlt_reward": learning.terms(facts, "rlt_rl", colours),
        "waltz_reward": learning.several(facts, ("waltz_rl",), "reward", "reward", colours),
        **{f"agents_{part}": bars.agents(facts, part, colours) for part in PARTS},
        **{f"safety_{rate}": safety.bars(facts, rate, colours) for rate in safety.RATES},
        "waterfall": bars.waterfall(facts, colours),
        "stage_costs": bars.stage_costs(facts, colours),
        "roi": bars.roi(facts, colours),
    }
    return {name: finish(chart, colours) for name, chart in found.items() if chart is not None}
