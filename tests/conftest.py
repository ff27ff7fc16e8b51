"""Small real things that many tests share: a tokenizer trained on a few sentences and tiny random models."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMOKE = ("tests/test_smoke.py", "tests/test_experiments.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """With several workers a file's tests stay together, and so do all that read the smoke clone."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "smoke" if file in SMOKE else file

    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for the smoke clone begins first: it takes longest."""
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in SMOKE)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; tests that read it are skipped where it is absent."""
    path = Path(os.environ.get("GENESIS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set GENESIS_SHARED_DATA)")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder: empty, and in no DVC run and no launch of several processes."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A fresh clone in which the whole pipeline has run with the smoke profile, offline; to be read, not changed."""
    from smoke import make_clone

    if not (ROOT / ".git").exists():
        pytest.skip("no git repository to clone")
    return make_clone(tmp_path_factory.mktemp("smoke") / "clone")


@pytest.fixture(scope="session")
def seed_texts() -> list[str]:
    """The documents of data/seed/corpus."""
    return [path.read_text(encoding="utf-8") for path in sorted((ROOT / "data/seed/corpus").glob("*.md"))]


@pytest.fixture(scope="session")
def tokenizer(seed_texts):
    """A real tokenizer of 512 tokens."""
    from genesis.nanochat.tokenizer import train_bpe

    return train_bpe(iter(seed_texts), 512)


@pytest.fixture(scope="session")
def make_tiny(tokenizer):
    """A function that makes a random NanoChat of two layers, width 32; the same weights at every call."""
    import torch
    from transformers import NanoChatConfig, NanoChatForCausalLM

    def make():
        torch.manual_seed(0)
        config = NanoChatConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return NanoChatForCausalLM(config).eval()

    return make


@pytest.fixture
def tiny_model(make_tiny):
    """A random NanoChat of two layers, width 32."""
    return make_tiny()


@pytest.fixture
def tiny_folder(tmp_path, tokenizer, tiny_model) -> Path:
    """The random model and its tokenizer, saved."""
    folder = tmp_path / "tiny"
    tiny_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
