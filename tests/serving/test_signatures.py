"""The contract of the export's signatures, checked on the loaded SavedModel."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis import input_pb2

from mmrank.data.tables import Dataset
from mmrank.serving.raw import cleaned
from mmrank.trained_run import Run

Inputs = dict[str, np.ndarray]
Served = Callable[[str, Inputs], dict[str, np.ndarray]]
PADDED = -1e9
PREDICT, REGRESS = "tensorflow/serving/predict", "tensorflow/serving/regress"
COLUMNS = {
    "title": tf.string, "photo": tf.string, "brand": tf.string, "tags": tf.string,
    "price": tf.float32, "rating": tf.float32, "reviews": tf.string,
}  # fmt: skip
# Runs every given signature with nothing but TensorFlow and the folder.
STRANGER = """
import pathlib, sys
sys.modules["mmrank"] = None
import numpy, tensorflow as tf, tensorflow_text
export, requests, answers = map(pathlib.Path, sys.argv[1:])
signatures = tf.saved_model.load(str(export)).signatures
for folder in requests.iterdir():
    function = signatures[folder.name.replace("+", "/")]
    specs = function.structured_input_signature[1]
    inputs = {n: tf.io.parse_tensor((folder / n).read_bytes(), s.dtype) for n, s in specs.items()}
    numpy.savez(answers / folder.name, **{n: t.numpy() for n, t in function(**inputs).items()})
try:
    import mmrank
except ImportError:
    pass
else:
    raise SystemExit("mmrank could be imported")
"""


def in_fresh_process(
    export: pathlib.Path,
    requests: Mapping[str, Inputs],
    signatures: Mapping[str, Any],
    folder: pathlib.Path,
) -> dict[str, Mapping[str, np.ndarray]]:
    """Answers by signature, from a process that cannot import mmrank."""
    answers = folder / "answers"
    answers.mkdir()
    for name, inputs in requests.items():
        at = folder / "requests" / name.replace("/", "+")
        at.mkdir(parents=True)
        for n, value in inputs.items():
            tensor = tf.constant(value, signatures[name].structured_input_signature[1][n].dtype)
            (at / n).write_bytes(tf.io.serialize_tensor(tensor).numpy())
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(export), str(folder / "requests"), str(answers)],
        cwd=folder,
        check=True,
        timeout=600,
    )
    return {name: np.load(answers / f"{name.replace('/', '+')}.npz") for name in requests}


def elwc(inputs: Inputs, columns: Mapping[str, tf.DType]) -> list[bytes]:
    """The lists of a `serving_default` request as messages without the absent values."""
    messages = []
    for b, length in enumerate(inputs["list_length"]):
        message = input_pb2.ExampleListWithContext()
        for name in ("query", "user"):
            if inputs[f"{name}_present"][b]:
                put(message.context, name, [inputs[name][b]])
        for role in ("items", "types", "ages"):
            put(message.context, f"history_{role}", list(inputs[f"history_{role}"][b]))
        for i in range(length):
            example = message.examples.add()
            for name in columns:
                if inputs[f"{name}_present"][b, i]:
                    put(example, name, [inputs[name][b, i]])
        messages.append(message.SerializeToString())
    return messages


def put(example: Any, name: str, values: list[Any]) -> None:
    feature = example.features.feature[name]
    if values and isinstance(values[0], float):
        feature.float_list.value.extend(values)
    else:
        texts = [v.encode() if isinstance(v, str) else v for v in values]
        feature.bytes_list.value.extend(texts)


@pytest.fixture(scope="module")
def elwc_request(raw_request: Inputs) -> Inputs:
    return {"inputs": np.array(elwc(raw_request, COLUMNS | {"overlap": tf.float32}), object)}


def same(scores: np.ndarray, expected: list[np.ndarray], tolerance: float = 1e-5) -> None:
    """Checks that each list has the expected scores, and padding −1e9."""
    for got, want in zip(scores, expected, strict=True):
        np.testing.assert_allclose(got[: len(want)], want, rtol=0, atol=tolerance)
        assert (got[len(want) :] == PADDED).all()


def test_a_plain_client_gets_the_keras_models_scores(
    run: Run,
    dataset: Dataset,
    exported: pathlib.Path,
    signatures: Mapping[str, Any],
    expected: list[np.ndarray],
    raw_request: Inputs,
    id_request: Inputs,
    elwc_request: Inputs,
    tmp_path: pathlib.Path,
) -> None:
    item_request = {n: raw_request[n][0, :9] for c in COLUMNS for n in (c, f"{c}_present")}
    requests = {
        "serving_default": raw_request,
        "rank_items": id_request,
        "encode_items": item_request,
        PREDICT: elwc_request,
    }
    answers = in_fresh_process(exported, requests, signatures, tmp_path)
    for name in ("serving_default", "rank_items", PREDICT):
        same(answers[name]["scores"], expected)
    assert max(len(set(want.tolist())) for want in expected) > 3  # the scores differ

    # Tokens from the Keras tower, on the arrays that training reads.
    arrays = run.fitted.item_arrays(dataset)
    ids = id_request["items"][0, :9]
    numbers = [list(dataset.item_ids).index(i) for i in ids]
    items = {n: tf.constant(a[numbers]) for n, a in arrays.items()}
    tower = run.model.item_tower(items, training=False)
    got = answers["encode_items"]
    tokens, present = tower["tokens"].numpy(), tower["present"].numpy()
    np.testing.assert_array_equal(got["present"], present)
    np.testing.assert_allclose(got["tokens"], tokens, rtol=0, atol=1e-5)
    mean = [t[p].mean(0) for t, p in zip(tokens, present, strict=True)]
    np.testing.assert_allclose(got["embedding"], mean, rtol=0, atol=1e-5)


def test_names_shapes_and_dtypes(signatures: Mapping[str, Any]) -> None:
    history = {"history_items": ("string", 2), "history_types": ("string", 2)}
    context = history | {"history_ages": ("float32", 2)}
    for name in ("query", "user"):
        context |= {name: ("string", 1), f"{name}_present": ("bool", 1)}
    pair = {"overlap": ("float32", 2), "overlap_present": ("bool", 2)}

    def items(rank: int) -> dict[str, tuple[str, int]]:
        flags = {f"{n}_present": ("bool", rank) for n in COLUMNS}
        return flags | {n: (d.name, rank) for n, d in COLUMNS.items()}

    inputs = {
        "serving_default": context | pair | items(2) | {"list_length": ("int32", 1)},
        "rank_items": context | pair | {"items": ("string", 2)},
        "encode_items": items(1),
        "lookup_items": {"items": ("string", 1)},
        "encode_queries": {n: t for n, t in context.items() if not n.startswith("history_")},
        PREDICT: {"inputs": ("string", 1)},
        REGRESS: {"inputs": ("string", 1)},
    }
    inputs["rank_embeddings"] = pair | {
        "contexts": ("float32", 3), "contexts_present": ("bool", 2),
        "tokens": ("float32", 4), "present": ("bool", 3), "list_length": ("int32", 1),
        "match": ("float32", 3), "query_match": ("float32", 2),
        "history_tokens": ("float32", 4), "history_known": ("bool", 2),
        "history_types": ("string", 2), "history_ages": ("float32", 2),
    }  # fmt: skip
    outputs = {name: {"scores": 2} for name in inputs}
    outputs["encode_items"] = {"tokens": 3, "present": 2, "match": 2, "embedding": 2}
    outputs[REGRESS] = {"outputs": 1}
    outputs["lookup_items"] = {"tokens": 3, "present": 2, "match": 2, "known": 1}
    outputs["encode_queries"] = {"contexts": 3, "contexts_present": 2, "query_match": 2}
    assert set(signatures) == set(inputs)
    for name, function in signatures.items():
        specs = function.structured_input_signature[1]
        assert {n: (s.dtype.name, s.shape.rank) for n, s in specs.items()} == inputs[name]
        assert {n: t.shape.rank for n, t in function.structured_outputs.items()} == outputs[name]


def test_padding_changes_nothing(
    served: Served, raw_request: Inputs, expected: list[np.ndarray]
) -> None:
    # TensorFlow Serving pads batches with the first element of each tensor.
    longer = dict(raw_request)
    for name, value in raw_request.items():
        if value.ndim == 2 and not name.startswith("history_"):
            more = np.broadcast_to(value[:1, :1], [len(value), 5])
            longer[name] = np.concatenate([value, more], 1)
    same(served("serving_default", longer)["scores"], expected)


def test_permuted_candidates_have_permuted_scores(served: Served, raw_request: Inputs) -> None:
    before = served("serving_default", raw_request)["scores"]
    longest = int(raw_request["list_length"].argmax())
    order = np.random.default_rng(0).permutation(before.shape[1])
    one = {n: v[longest : longest + 1] for n, v in raw_request.items()}
    for name, value in one.items():
        if value.ndim == 2 and not name.startswith("history_"):
            one[name] = value[:, order]
    after = served("serving_default", one)["scores"][0]
    np.testing.assert_allclose(after, before[longest][order], atol=1e-5)


def test_values_of_absent_inputs_are_ignored(
    served: Served, raw_request: Inputs, expected: list[np.ndarray]
) -> None:
    absent = {}
    for name in (*COLUMNS, "overlap", "query", "user"):
        here = raw_request[f"{name}_present"]
        value = raw_request[name]
        number = COLUMNS.get(name) == tf.float32 or name == "overlap"
        absent[name] = np.where(here, value, np.inf if number else "absent")
        # A true flag does not make an invalid number present.
        absent[f"{name}_present"] = here | (absent[name] == np.inf) if number else here
    same(served("serving_default", raw_request | absent)["scores"], expected)
    blank = {n: raw_request[n].copy() for n in ("title", "photo")}
    for name, value in blank.items():
        value[~raw_request[f"{name}_present"]] = " \u3000" if name == "title" else b""
        blank = blank | {name: value, f"{name}_present": np.ones(value.shape, bool)}
    same(served("serving_default", raw_request | blank)["scores"], expected)


def test_an_unknown_item_is_scored_without_features(
    served: Served, raw_request: Inputs, id_request: Inputs
) -> None:
    items = id_request["items"].copy()
    items[:, 0] = "no such item"
    scores = served("rank_items", id_request | {"items": items})["scores"]
    assert np.isfinite(scores).all()
    nothing = {}
    for name in COLUMNS:
        nothing[f"{name}_present"] = raw_request[f"{name}_present"].copy()
        nothing[f"{name}_present"][:, 0] = False
    raw = served("serving_default", raw_request | nothing)["scores"]
    np.testing.assert_allclose(scores, raw, rtol=0, atol=1e-5)


def test_the_latest_known_events_count(
    served: Served, run: Run, id_request: Inputs, expected: list[np.ndarray]
) -> None:
    assert run.fitted.history is not None
    length = run.fitted.history.options.length
    events = {n: id_request[n] for n in id_request if n.startswith("history_")}
    assert events["history_items"].shape[1] > length
    latest = {n: v[:, -length:] for n, v in events.items()}
    same(served("rank_items", id_request | latest)["scores"], expected)
    # Unknown items among the latest events do not displace known ones.
    fillers = {"history_items": "unknown", "history_types": "view", "history_ages": 0.5}
    pushed = {
        n: np.concatenate([v, np.full([len(v), length], fillers[n], object)], 1)
        for n, v in events.items()
    }
    same(served("rank_items", id_request | pushed)["scores"], expected)


def test_no_history_is_a_user_without_events(served: Served, id_request: Inputs) -> None:
    events = {n: v for n, v in id_request.items() if n.startswith("history_")}
    none = {n: v[:, :0] for n, v in events.items()}
    blank = events | {"history_items": np.full(events["history_items"].shape, "", object)}
    without = served("rank_items", id_request | none)["scores"]
    np.testing.assert_array_equal(without, served("rank_items", id_request | blank)["scores"])
    assert np.abs(without - served("rank_items", id_request)["scores"]).max() > 1e-4


def test_regress_takes_a_candidate_with_its_context_as_one_example(
    run: Run, dataset: Dataset, lists: list[pd.DataFrame], served: Served, elwc_request: Inputs
) -> None:
    alone = [rows.iloc[i : i + 1] for rows in lists for i in range(len(rows))]
    merged = []
    for message in elwc_request["inputs"]:
        given = input_pb2.ExampleListWithContext.FromString(message)
        for example in given.examples:
            example.MergeFrom(given.context)
            merged.append(example.SerializeToString())
    assert len(merged) == len(alone)
    chosen = list(range(0, len(merged), 5))
    outputs = served(REGRESS, {"inputs": np.array([merged[i] for i in chosen], object)})
    assert set(outputs) == {"outputs"}
    expected = [run.score(dataset, alone[i]) for i in chosen]
    np.testing.assert_allclose(outputs["outputs"], np.concatenate(expected), rtol=0, atol=1e-5)


def test_an_elwc_example_may_hold_its_tags_one_by_one(served: Served, raw_request: Inputs) -> None:
    messages = elwc(raw_request, COLUMNS | {"overlap": tf.float32})
    split = []
    for text in messages:
        message = input_pb2.ExampleListWithContext.FromString(text)
        for example in message.examples:
            joined = example.features.feature["tags"].bytes_list.value[:]
            if joined:
                del example.features.feature["tags"]
                put(example, "tags", joined[0].split(b"|"))
        split.append(message.SerializeToString())
    one = served(PREDICT, {"inputs": np.array(messages, object)})["scores"]
    other = served(PREDICT, {"inputs": np.array(split, object)})["scores"]
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_an_elwc_message_with_bare_examples(served: Served) -> None:
    message = input_pb2.ExampleListWithContext()
    message.examples.add()
    message.examples.add()
    scores = served(PREDICT, {"inputs": np.array([message.SerializeToString()], object)})["scores"]
    assert scores.shape == (1, 2)
    assert np.isfinite(scores).all()
    assert scores[0, 0] == pytest.approx(scores[0, 1], abs=1e-6)


def test_wrong_requests_are_client_errors(served: Served, raw_request: Inputs) -> None:
    photo = raw_request["photo"].copy()
    photo[0, 0] = b"not a photo"
    here = np.ones(photo.shape, bool) & raw_request["photo_present"]
    here[0, 0] = True
    broken = raw_request | {"photo": photo, "photo_present": here}
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        served("serving_default", broken)
    empty = {
        n: v[:, :0] if v.ndim == 2 and not n.startswith("history_") else v
        for n, v in raw_request.items()
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match="no candidate"):
        served("serving_default", empty)


def test_both_languages_tokenise_as_in_training(run: Run) -> None:
    kind = run.fitted.columns["query"]
    asked = ["red 连衣裙 Kurta", "  Red连衣裙kurta\u3000", "ÉTÉ 红 t-shirt", "", "\t"]
    ids, present = kind.arrays(pd.Series(asked), None)
    raw, here = cleaned(kind, tf.constant(asked), tf.ones([len(asked)], tf.bool))
    np.testing.assert_array_equal(kind.preprocess(raw).numpy(), ids)
    np.testing.assert_array_equal(here.numpy(), present)
    assert present.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(ids[0], ids[1])  # the same words, however they are spaced


def test_texts_are_normalised_in_the_export_as_in_training(
    served: Served, run: Run, raw_request: Inputs
) -> None:
    asked = ["iPhone手机壳 red", "ＩＰＨＯＮＥ手机壳　ｒｅｄ", "iphone\u200b手机壳\x07RED", "mug"]
    ids, present = run.fitted.columns["title"].arrays(pd.Series(asked), None)
    assert present.all()
    assert ids[0].tolist() == ids[1].tolist() == ids[2].tolist() != ids[3].tolist()
    item = {n: raw_request[n][0, :1] for c in COLUMNS for n in (c, f"{c}_present")}
    items = {n: np.repeat(v, len(asked), 0) for n, v in item.items()}
    items |= {f"{n}_present": np.zeros(len(asked), bool) for n in COLUMNS}
    items |= {"title": np.array(asked, object), "title_present": present}
    tokens = served("encode_items", items)["tokens"][:, run.model.modalities.index("title")]
    np.testing.assert_array_equal(tokens[0], tokens[1])
    np.testing.assert_array_equal(tokens[0], tokens[2])
    assert np.abs(tokens[0] - tokens[3]).max() > 1e-3
