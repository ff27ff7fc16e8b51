import json

from genesis.nanochat.packing import PackedRows, documents


def test_rows_are_full_start_at_a_document_and_lose_nothing(small_corpus, tokenizer):
    rows = PackedRows(small_corpus / "train", tokenizer, length=64)
    ids = rows.batch(300)
    assert ids.shape == (300, 65)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert rows.kept() == 1.0


def test_one_pass_holds_every_token_of_the_corpus(small_corpus, tokenizer):
    rows = PackedRows(small_corpus / "train", tokenizer, length=64)
    seen: list[int] = []
    while rows.epoch == 0:
        seen += rows.batch(1)[0].tolist()
    seen += [token for document in rows.pool for token in document]
    texts = list(documents(small_corpus / "train"))
    expected = sorted(token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"])
    extra = sorted(token for token in seen if token != tokenizer.bos_token_id)
    assert extra[: len(expected)] == expected or len(extra) >= len(expected)
    for token in set(expected):
        assert extra.count(token) >= expected.count(token)


def test_a_restored_state_gives_the_same_rows(small_corpus, tokenizer):
    rows = PackedRows(small_corpus / "train", tokenizer, length=64)
    rows.batch(37)
    state = json.loads(json.dumps(rows.state_dict()))
    expected = rows.batch(200)
    again = PackedRows(small_corpus / "train", tokenizer, length=64)
    again.load_state_dict(state)
    assert (again.batch(200) == expected).all()


def test_processes_share_the_documents_without_overlap(small_corpus):
    whole = list(documents(small_corpus / "train"))
    parts = [list(documents(small_corpus / "train", rank=rank, world=3)) for rank in range(3)]
    assert sorted(sum(parts, [])) == sorted(whole)
    assert list(documents(small_corpus / "train", start=30)) == whole[30:]
