"""What an estimate reads while other stages write beside it."""

import pytest

from genesis.common import estimate
from genesis.common.errors import UserError

WHOLE = "stages:\n  pretrain:\n    params:\n      params.yaml:\n        pretrain:\n          steps: 10\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params.yaml").write_text("pretrain: {steps: 20}\n")
    (tmp_path / "dvc.lock").write_text(WHOLE + "  chat: {params: {params.y")
    estimate._locked.cache_clear()
    return tmp_path


def test_a_lock_file_that_is_being_written_is_read_again(root, monkeypatch):
    monkeypatch.setattr(estimate.time, "sleep", lambda _: (root / "dvc.lock").write_text(WHOLE))
    assert estimate.changes("pretrain", root) == {"pretrain.steps": (10, 20)}


def test_a_lock_file_that_stays_damaged_is_one_clear_error(root, monkeypatch):
    monkeypatch.setattr(estimate.time, "sleep", lambda _: None)
    with pytest.raises(UserError, match=r"dvc.lock: not YAML \(.*git checkout dvc.lock"):
        estimate.changes("pretrain", root)
