"""The import of Google's speech embedding: against TensorFlow Lite, NumPy, and invalid files."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub

from mmrank.encoders.audio import Audio
from mmrank.encoders.lite_chain import Chain, Convolve, Floor, Leak, Pad, Pool, read_chain
from mmrank.encoders.speech_embedding import SpeechMels, WindowConvolutions, hop_of
from mmrank.import_encoder import main
from mmrank.outputs import InputError
from mmrank.schema import Feature

CONVOLVE = Convolve(np.zeros([1, 1, 1, 3], np.float32), np.zeros(3, np.float32), (1, 1), "SAME")
FRAMES, BANDS, WIDTH, HOP = 12, 8, 6, 4  # of the small network below


def network(
    *, last: int = WIDTH, padding: str = "valid", activation: str | None = None
) -> tf.keras.Model:
    """A small network with the same kinds of layers: 3 frames, halving, 2 frames, halving, 2."""
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(3)
    given = tf.keras.Input([FRAMES, BANDS, 1])

    def active(x: tf.Tensor) -> tf.Tensor:
        # As in a trained network: moving statistics that are not the initial ones.
        norm = layers.BatchNormalization(
            moving_mean_initializer=tf.keras.initializers.RandomNormal(0, 0.3),
            moving_variance_initializer=tf.keras.initializers.RandomUniform(0.5, 2),
        )
        return tf.maximum(layers.LeakyReLU(0.2)(norm(x)), -0.4)

    x = layers.ZeroPadding2D((0, 1))(given)
    x = active(layers.Conv2D(4, 3, padding="valid", use_bias=False)(x))  # [10, 8]
    x = layers.MaxPool2D(2)(x)  # [5, 4]
    x = active(layers.Conv2D(5, (1, 3), padding="same", use_bias=False)(x))
    x = active(layers.Conv2D(5, (2, 1), padding=padding, use_bias=False)(x))  # [4, 4]
    x = layers.MaxPool2D((1, 2), padding="same")(x)  # [4, 2]
    x = layers.MaxPool2D(2)(x)  # [2, 1]
    x = layers.Conv2D(last, (2, 1), padding="valid", activation=activation)(x)
    return tf.keras.Model(given, x)


def lite(model: tf.keras.Model, **settings: object) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    return converter.convert()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("speech") / "embedding.tflite"
    path.write_bytes(lite(network()))
    return path


@pytest.fixture(scope="module")
def handle(file: pathlib.Path) -> str:
    out = file.with_name("hub")
    assert main(["--from", str(file), "--out", str(out)]) == 0
    return str(out)


def interpreted(file: pathlib.Path, windows: np.ndarray) -> np.ndarray:
    """TensorFlow Lite's outputs for windows [N, FRAMES, BANDS], one window at a time."""
    interpreter = tf.lite.Interpreter(str(file))
    interpreter.allocate_tensors()
    (given,), (asked,) = interpreter.get_input_details(), interpreter.get_output_details()
    made = []
    for window in windows:
        interpreter.set_tensor(given["index"], window[None, ..., None])
        interpreter.invoke()
        made.append(interpreter.get_tensor(asked["index"]).reshape(-1))
    return np.stack(made)


def test_one_pass_equals_tensorflow_lite_on_each_window(file: pathlib.Path):
    mels = np.random.default_rng(0).normal(0, 3, [FRAMES + 5 * HOP + 1, BANDS]).astype(np.float32)
    windows = np.stack([mels[HOP * t : HOP * t + FRAMES] for t in range(6)])
    expected = interpreted(file, windows)
    assert expected.std(0).min() > 0.01
    layer = WindowConvolutions(read_chain(file))
    np.testing.assert_allclose(layer(tf.constant(mels)), expected, atol=1e-4)
    assert layer.every == HOP
    # All weights are trainable: kernel and bias of each convolution; norms are folded into them.
    assert [w.name for w in layer.trainable_weights][:2] == [
        "convolution_0/kernel:0",
        "convolution_0/bias:0",
    ]
    assert len(layer.trainable_weights) == 2 * 4


def plain_mels(wave: np.ndarray, window: int, bands: int) -> np.ndarray:
    """The spectrogram in loops: HTK's mel scale, triangular filters over the Fourier bins."""
    silence = ((window - 1) * 160 + 400) // 2
    padded = np.concatenate([np.zeros(silence), wave, np.zeros(silence)])
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)]
    mel = [1127 * math.log(1 + k * 16000 / 512 / 700) for k in range(257)]
    low, high = (1127 * math.log(1 + f / 700) for f in (60, 3800))
    edges = [low + (high - low) * i / (bands + 1) for i in range(bands + 2)]
    rows = []
    for start in range(0, len(padded) - 399, 160):
        bins = np.abs(np.fft.rfft(padded[start : start + 400] * hann, 512))
        row = []
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            rise = [(m - left) / (centre - left) for m in mel]
            fall = [(right - m) / (right - centre) for m in mel]
            weight = [max(0.0, min(r, f)) for r, f in zip(rise, fall, strict=True)]
            row.append(math.log(float(np.dot(weight[1:], bins[1:])) + 0.001))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("samples", [0, 1, 1279, 1280, 5000])
def test_frames_agree_with_loops_and_surround_the_recording(samples: int):
    wave = np.random.default_rng(samples).uniform(-0.5, 0.5, samples)
    given = SpeechMels(76, 32)(tf.constant(wave, tf.float32)).numpy()
    expected = plain_mels(wave, 76, 32)
    assert given.shape == expected.shape == (samples // 160 + 76, 32)
    np.testing.assert_allclose(given, expected, atol=2e-3)


def test_the_hub_model_takes_a_waveform(file: pathlib.Path, handle: str):
    loaded = tensorflow_hub.load(handle)
    every = HOP * 160
    for samples in (0, 1, every - 1, every, 3 * every + 5):
        wave = np.random.default_rng(1).uniform(-0.5, 0.5, samples).astype(np.float32)
        mels = plain_mels(wave, FRAMES, BANDS).astype(np.float32)
        count = samples // every + 1
        windows = np.stack([mels[HOP * t : HOP * t + FRAMES] for t in range(count)])
        given = loaded(tf.constant(wave)).numpy()
        assert given.shape == (count, WIDTH)
        np.testing.assert_allclose(given, interpreted(file, windows), atol=5e-3)


def test_the_graph_has_plain_operators_only(handle: str):
    graph = tf.saved_model.load(handle).signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for made in graph.library.function for node in made.node_def)]
    operators = {node.op for node in nodes}
    assert {"RFFT", "Conv2D", "MaxPool"} <= operators
    assert not {op for op in operators if "lite" in op.lower() or "PyFunc" in op}


def test_the_audio_kind_takes_the_mean_over_its_frames(handle: str):
    options = {"encoder": "hub", "handle": handle, "seconds": 0.5}
    kind = Audio(Feature("sound", "audio", "query", "sound"), options)
    samples = np.random.default_rng(2).integers(-9000, 9000, [2, 8000], np.int16)
    samples[1, 2000:] = -32768  # padding after the end
    given = kind.encoder(99)(tf.constant(samples)).numpy()
    loaded = tensorflow_hub.load(handle)
    decoded = (samples[0] / 32768, samples[1, :2000] / 32768)
    expected = [np.mean(loaded(tf.constant(wave, tf.float32)), 0) for wave in decoded]
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_hub_model_can_be_trained(handle: str):
    layer = tensorflow_hub.KerasLayer(handle, trainable=True)
    wave = tf.random.stateless_uniform([3000], (0, 1), -0.5, 0.5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(wave, training=True)[:, 0])
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == 2 * 4
    assert all(np.isfinite(g.numpy()).all() for g in gradients)


def test_facts_are_printed(file: pathlib.Path, tmp_path: pathlib.Path, capsys):
    assert main(["--from", str(file), "--out", str(tmp_path / "hub")]) == 0
    actual = capsys.readouterr().out
    assert f"4 convolutions, width {WIDTH}" in actual
    assert "a vector every 0.04 s, of the 0.135 s around it" in actual
    assert f"audio: {{encoder: hub, handle: {tmp_path / 'hub'}}}" in actual


def test_wrong_files_are_refused_in_one_line(file: pathlib.Path, tmp_path: pathlib.Path, capsys):
    whole = file.read_bytes()
    half = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    half["target_spec"] = tf.lite.TargetSpec(supported_types=[tf.float16])
    dense = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(2)])
    layers = tf.keras.layers
    deep = tf.keras.Sequential([tf.keras.Input([4, 4, 1]), layers.Conv2D(2, 3), layers.Softmax()])
    cases = [
        (b"", "not a TensorFlow Lite file"),
        (b"\x80\x02cposix\nsystem\nq\x00.", "not a TensorFlow Lite file"),
        (whole[: len(whole) // 2], "damaged"),
        (whole[:8], "damaged"),
        (lite(dense), "takes [1, 4], not one spectrogram"),
        (lite(deep), "is SOFTMAX; known: PAD, CONV_2D"),
        (lite(network(), **half), "operator 0 is DEQUANTIZE; known: "),
        (lite(network(activation="relu")), "fused activation"),
        (lite(network(padding="same")), "pads in time"),
    ]
    for number, (content, message) in enumerate(cases):
        wrong = tmp_path / f"{number}.tflite"
        wrong.write_bytes(content)
        assert main(["--from", str(wrong), "--out", str(tmp_path / "hub")]) == 2, message
        said = capsys.readouterr().err
        assert message in said
        assert str(wrong) in said
        assert said.count("error: ") == 1
    more = ["--from", str(file), "--out", str(tmp_path / "hub"), "--pooling", "cls"]
    assert main(more) == 2
    assert "--pooling: not for" in capsys.readouterr().err
    named = ["--from", str(tmp_path), "--type", "speech_embedding", "--out", str(tmp_path / "hub")]
    assert main(named) == 2
    assert "name the .tflite file" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([Pool((2, 2), (2, 2), "VALID")], "covers 2 of them and leaves 2 bands"),
        ([], "covers 1 of them and leaves 4 bands"),
        ([Pad((1, 0), (0, 0))], "pads in time"),
        ([Pool((2, 1), (1, 1), "SAME")], "pads in time"),
        ([Pool((1, 5), (1, 1), "VALID")], "its step 0 does not fit"),
        ([Pool((1, 1), (0, 1), "VALID")], "its step 0 does not fit"),
        ([CONVOLVE, CONVOLVE], "its step 1 does not fit"),
    ],
)
def test_chains_without_one_vector_per_window_are_refused(steps, message):
    with pytest.raises(InputError, match=message):
        hop_of(Chain(5, 4, tuple(steps)))


def test_windows_of_a_chain():
    """Windows of 2, 2 (halving) and 2 frames take 1 + 1 + 1 + 2 = 5 frames, every second frame."""
    halves = [Pool((2, 4), (2, 4), "VALID"), Floor(0.0), Pool((2, 1), (1, 1), "VALID")]
    one = Convolve(np.zeros([2, 1, 1, 3], np.float32), np.zeros(3, np.float32), (1, 1), "VALID")
    assert hop_of(Chain(5, 4, (one, Leak(0.1), *halves))) == 2


def test_damaged_files_are_refused_or_read(file: pathlib.Path, tmp_path: pathlib.Path):
    """Random bytes give an error of one line or a chain; nothing else, and no crash."""
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    actual = []
    for number in range(300):
        content = whole.copy()
        at = random.integers(8, len(content), 1 + number % 20)
        content[at] = random.integers(0, 256, len(at))
        wrong = tmp_path / "wrong.tflite"
        wrong.write_bytes(content[: random.integers(8, len(content))] if number % 3 else content)
        try:
            hop_of(read_chain(wrong))
        except InputError as error:
            actual.append(str(error))
    assert len(actual) > 100
    assert not [message for message in actual if "\n" in message]
