from dataclasses import dataclass, field

import pytest

from genesis.common.errors import UserError
from genesis.common.params import load_params, read_yaml


@dataclass
class Part:
    kind: str
    size: int = 1


@dataclass
class Section:
    rate: float
    steps: int = 10
    parts: list[Part] = field(default_factory=list)


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / "params.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_section_becomes_its_dataclass_and_an_override_wins(written):
    path = written("train: {rate: 0.5, parts: [{kind: a}]}\nother: 1\n")
    assert load_params(Section, "train", path) == Section(0.5, 10, [Part("a", 1)])
    assert load_params(Section, "train", path, steps=3).steps == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {rate: 1, stepz: 3}", r"params.yaml: train: unknown key 'stepz'; known keys: rate, steps, parts$"),
        ("train: {rate: 1, parts: [{kind: a, sise: 1}]}", r"train: unknown key 'sise'; known keys: kind, size$"),
        ("train: {rate: 1, steps: many}", r"params.yaml: train: steps: Value 'many' .* Integer$"),
        ("train: {rate: 1, steps: 1.5}", r"train: steps: Value '1.5'"),
        ("train: {rate: 1, parts: 3}", r"train: parts: "),
        ("train: {steps: 3}", r"train: missing key 'rate'"),
        ("train: {rate: 1, parts: [{size: 1}]}", r"train: missing key 'parts\[0\].kind'"),
        ("train: [1, 2]", r"train: expected a mapping of keys to values, found \[1, 2\]"),
        ("other: 1", r"params.yaml: no section 'train'; run `make params`"),
        ("train: 1\nother: {a\n", r"params.yaml:3: not YAML"),
        ("- 1", r"params.yaml: expected a mapping"),
        ("", r"params.yaml: expected a mapping"),
        (b"train: caf\xe9", r"params.yaml: not UTF-8"),
    ],
)
def test_a_bad_file_names_the_place_the_key_and_what_was_expected(written, text, said):
    with pytest.raises(UserError, match=said):
        load_params(Section, "train", written(text))


def test_a_bad_value_of_an_agents_own_is_not_blamed_on_the_section(written):
    path = written("train: {rate: 0.5}")
    with pytest.raises(UserError, match=r"train, with stepz of the item's own: unknown key 'stepz'"):
        load_params(Section, "train", path, stepz=3)
    with pytest.raises(UserError, match=r"params.yaml: train: missing key 'rate'"):
        load_params(Section, "train", written("train: {}"), steps=3)


def test_an_absent_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"params.yaml: no such file"):
        read_yaml(tmp_path / "params.yaml")
