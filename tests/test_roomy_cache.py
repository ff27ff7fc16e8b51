import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.cache_utils import DynamicCache

from genesis.roomy_cache import ROOM, RoomyLayer, generate_with_room, roomy_cache

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.5,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES, bos_token_id=None, eos_token_id=None)).eval()


def test_a_layer_holds_what_the_plain_one_holds_and_seldom_moves():
    torch.manual_seed(0)
    ours, plain = RoomyLayer(), type(DynamicCache(config=LlamaConfig(**SIZES)).layers[0])()
    moves, place = 0, None
    for tokens in (7, *[1] * (3 * ROOM)):
        keys, values = torch.randn(3, 2, tokens, 8), torch.randn(3, 2, tokens, 8)
        for got, want in zip(ours.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(got, want)
        moves, place = moves + (ours.keys.data_ptr() != place), ours.keys.data_ptr()
    assert moves <= 4
    for layer in (ours, plain):
        layer.crop(-5)
        layer.batch_select_indices(torch.tensor([2, 0]))
        layer.update(torch.ones(2, 2, 1, 8), torch.zeros(2, 2, 1, 8))
    assert torch.equal(ours.keys, plain.keys) and torch.equal(ours.values, plain.values)


@pytest.mark.parametrize("options", [{"do_sample": True, "temperature": 0.8}, {"do_sample": False, "num_beams": 3}])
def test_generation_gives_the_same_tokens(model, options):
    ids_BT = torch.randint(1, 64, (5, 40))
    mask_BT = torch.ones_like(ids_BT)
    ids_BT[0, :30], mask_BT[0, :30] = 0, 0
    asked = {"attention_mask": mask_BT, "max_new_tokens": 2 * ROOM, "pad_token_id": 0, **options}
    torch.manual_seed(1)
    expected = model.generate(ids_BT, **asked)
    generate_with_room(model)
    torch.manual_seed(1)
    assert torch.equal(model.generate(ids_BT, **asked), expected)
    assert expected.shape == (5, 40 + 2 * ROOM)


def test_a_model_with_a_window_keeps_its_own_cache():
    windowed = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=16))
    assert roomy_cache(windowed) == {}
