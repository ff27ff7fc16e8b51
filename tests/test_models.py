import pytest

from genesis.common.errors import UserError
from genesis.models import load_model, load_tokenizer
from genesis.nanochat.tokenizer import train_bpe


def test_a_folder_cut_short_says_what_to_do(tiny_folder):
    weights = tiny_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot be loaded .* cut short"):
        load_model(tiny_folder)


def test_missing_weights_are_not_made_up(tiny_folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny_folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.fc1.weight")
    save_file(weights, tiny_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="1 weights are missing"):
        load_model(tiny_folder)


def test_a_tokenizer_of_another_model_is_refused(tiny_folder, seed_texts):
    larger = train_bpe(iter(seed_texts), 600)
    with pytest.raises(UserError, match="600 tokens and the model 512 embeddings"):
        load_model(tiny_folder, tokenizer=larger)


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_an_absent_folder_is_named(load, tmp_path):
    with pytest.raises(UserError, match="no such model folder"):
        load(tmp_path / "nothing")
