"""Recordings: spectrograms against NumPy, masking, the networks, and what counts as absent."""

from __future__ import annotations

import io
import logging
import math
import pathlib

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.audio import wav_of
from mmrank.data.media import MediaStore
from mmrank.encoders.audio import Audio
from mmrank.encoders.logmel import Spectrum, log_mels
from mmrank.encoders.sound import SoundConvolutions, SpectrogramMasking
from mmrank.schema import Feature

RATE = 8000
SMALL = {"rate": RATE, "seconds": 0.5, "hop_ms": 20.0, "mels": 16, "filters": [4, 8]}
Signal = np.ndarray


def audio(**options: object) -> Audio:
    return Audio(Feature("sound", "audio", "item", "sound"), {**SMALL, **options})


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def prepared(kind: Audio, *files: bytes) -> np.ndarray:
    return kind.traced_preprocess()(tf.constant(list(files), tf.string)).numpy()


def plain_log_mels(samples: np.ndarray) -> np.ndarray:
    """The spectrogram of `SMALL` in loops: HTK's mel scale, triangular filters over FFT bins."""
    frame, hop, size, mels = 200, 160, 256, 16
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / frame) for i in range(frame)]
    mel = [1127 * math.log(1 + k * RATE / size / 700) for k in range(size // 2 + 1)]
    low, high = (1127 * math.log(1 + f / 700) for f in (60, RATE / 2))
    edges = [low + (high - low) * i / (mels + 1) for i in range(mels + 2)]
    rows = []
    for start in range(0, len(samples), hop):
        piece = np.zeros(frame)
        part = samples[start : start + frame]
        piece[: len(part)] = part
        bins = np.abs(np.fft.rfft(piece * window, size))
        row = []
        for m in range(mels):
            left, centre, right = edges[m : m + 3]
            total = 0.0
            for k in range(1, size // 2 + 1):
                rise = (mel[k] - left) / (centre - left)
                fall = (right - mel[k]) / (right - centre)
                total += max(0.0, min(rise, fall)) * bins[k]
            row.append(math.log(total + 0.001))
        rows.append(row)
    return np.array(rows)


def test_spectrograms_agree_with_loops():
    """One recording of full length, one that ends between two frames, and an absent one."""
    whole, short = noise(0.5), noise(0.205, 1)
    kind = audio()
    files = [wav_of(wav(s), RATE, 0.5) for s in (whole, short)]
    given = prepared(kind, *files, b"")
    assert (given.dtype, given.shape) == (np.float16, (3, 25, 16))
    assert kind.input_spec().shape.as_list() == [None, 25, 16]
    # 16-bit samples, float32 Fourier transforms, and half precision of values up to 8: 2^-8.
    np.testing.assert_allclose(given[0], plain_log_mels(whole), atol=0.006)
    np.testing.assert_allclose(given[1, :11], plain_log_mels(short), atol=0.006)
    assert (given[1, 11:] == -100).all()
    np.testing.assert_allclose(given[2, 0], math.log(0.001), atol=0.004)
    assert (given[2, 1:] == -100).all()


def test_a_longer_limit_changes_no_frame():
    short, long = (audio(seconds=s) for s in (0.5, 0.9))
    file = wav_of(wav(noise(0.3)), RATE, 0.5)
    one, two = prepared(short, file), prepared(long, file)
    np.testing.assert_array_equal(two[:, :25], one)
    assert (two[:, 25:] == -100).all()


def test_any_format_is_read_and_bad_files_are_absent(tmp_path: pathlib.Path, caplog):
    samples = noise(0.3)
    soundfile.write(tmp_path / "a.flac", samples, RATE)
    soundfile.write(tmp_path / "b.wav", np.repeat(samples, 2), 2 * RATE)
    (tmp_path / "cut.wav").write_bytes(wav(samples)[:1000])
    (tmp_path / "cut.flac").write_bytes((tmp_path / "a.flac").read_bytes()[:1500])
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    names = ["a.flac", "b.wav", "cut.wav", "cut.flac", "text.wav", "empty.wav", "gone.wav"]
    column = pd.Series([*names, "", None, "a.flac"])
    kind = audio()
    with caplog.at_level(logging.WARNING):
        given, present = kind.arrays(column, MediaStore(tmp_path))
    assert present.tolist() == [True, True, *[False] * 7, True]
    assert "sound: 5 of 7 files are missing or broken" in caplog.text
    # The formats round to 16 bits differently.
    np.testing.assert_allclose(given[0], prepared(kind, wav(samples))[0], atol=0.01)
    np.testing.assert_array_equal(given[-1], given[0])
    assert (given[1, :15] > -100).all()
    assert not kind.arrays(column, None)[1].any()


def test_a_wav_at_another_rate_is_refused_by_the_graph():
    with pytest.raises(tf.errors.InvalidArgumentError, match="WAV of 8000 samples a second"):
        prepared(audio(), wav(noise(0.2), 16000))
    with pytest.raises(tf.errors.InvalidArgumentError):
        prepared(audio(), b"no WAV")


@pytest.fixture(scope="module")
def conv() -> SoundConvolutions:
    """A network whose moving statistics are not the initial ones."""
    layer = audio(time_mask=0.5, frequency_mask=0.5).encoder(99)
    mels = prepared(audio(), *[wav_of(wav(noise(s, 3)), RATE, 0.5) for s in (0.5, 0.2, 0.33)])
    for _ in range(3):
        layer(tf.constant(mels), training=True)
    return layer


def test_embeddings_do_not_depend_on_padding_or_neighbours(conv: SoundConvolutions):
    """D' = 2 · 8 filters · 4 bands; 0.3 s are 15 frames, an odd number."""
    file = wav_of(wav(noise(0.3)), RATE, 0.5)
    alone = conv(prepared(audio(seconds=0.3), file))
    padded = conv(prepared(audio(), file, wav_of(wav(noise(0.5, 2)), RATE, 0.5), b""))
    assert padded.shape == (3, 64)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[0], alone[0], rtol=0, atol=1e-5)
    assert np.abs(padded[0] - padded[1]).max() > 0.01


def test_training_statistics_ignore_padding():
    """The moving mean after one step is 0.1 times the mean over the present frames."""
    layer = audio().encoder(99)
    mels = prepared(audio(), *[wav_of(wav(noise(s)), RATE, 0.5) for s in (0.5, 0.2)])
    layer(tf.constant(mels), training=True)
    there = np.concatenate([mels[0], mels[1, :10]]).astype(np.float64)
    np.testing.assert_allclose(layer.bands.moving_mean, 0.1 * there.mean(0), atol=1e-3)


def test_gradients_are_finite_and_graph_is_eager(conv: SoundConvolutions):
    mels = tf.constant(prepared(audio(), wav_of(wav(noise(0.3)), RATE, 0.5), b""))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(conv(mels, training=True) ** 2)
    gradients = tape.gradient(loss, conv.trainable_weights)
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    assert any(np.abs(g.numpy()).max() > 0 for g in gradients)
    graph = tf.function(lambda x: conv(x, training=False))
    np.testing.assert_allclose(graph(mels), conv(mels, training=False), rtol=0, atol=1e-5)


def test_masking_hides_runs_within_the_recording():
    layer = SpectrogramMasking(0.5, 0.25)
    there = tf.sequence_mask([12] * 200, 20)
    mels = tf.ones([200, 20, 8])
    np.testing.assert_array_equal(layer((mels, there), training=False), mels)
    given = layer((mels, there), training=True).numpy()
    frames = (given == 0).all(2)
    bands = (given == 0).all(1)
    for hidden, most in ((frames, 6), (bands, 2)):
        widths = hidden.sum(1)
        assert set(widths) == set(range(most + 1))
        for row in hidden[widths > 0]:  # hidden elements are adjacent
            assert np.ptp(np.flatnonzero(row)) + 1 == row.sum()
    assert not frames[:, 12:].any()


def test_the_random_generator_exists_once_the_network_is_built():
    """Training seeds all generators at the start of an epoch."""
    layer = audio(time_mask=1.0).encoder(99)
    layer(tf.zeros([1, 25, 16], tf.float16), training=False)
    (generator,) = {
        inner._random_generator._generator
        for inner in layer._flatten_layers()
        if isinstance(inner, SpectrogramMasking)
    }
    mels = tf.constant(np.random.default_rng(0).normal(size=[8, 25, 16]), tf.float16)
    drawn = []
    for seed in (7, 7, 8):
        generator.reset_from_seed(seed)
        there = tf.ones([8, 25], tf.bool)
        drawn.append(layer.masking((mels, there), training=True).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_a_small_network_learns_to_distinguish_two_tones():
    """Sine and square waves of any pitch: trained for some steps, tested on new recordings."""
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)

    kind = audio(seconds=0.3, filters=[8])

    def recordings(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(2, size=count)
        time = np.arange(2400) / RATE
        files = []
        for label in labels:
            turns = 2 * np.pi * rng.uniform(500, 1500) * time
            sound = np.sin(turns) if label else np.sign(np.sin(turns))
            files.append(wav(0.3 * sound * rng.uniform(0.5, 1)))
        return prepared(kind, *files), labels

    model = tf.keras.Sequential([kind.encoder(99), tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.Adam(0.01), tf.keras.losses.BinaryCrossentropy(True))
    model.fit(*recordings(96), batch_size=16, epochs=6, verbose=0)
    mels, labels = recordings(40)
    right = (model(mels).numpy()[:, 0] > 0) == labels
    assert right.mean() >= 0.9


@pytest.mark.slow
def test_digits_of_an_unseen_speaker(shared_data: pathlib.Path):
    """Digits 0 and 6 of five speakers; the sixth's are classified far better than at random."""
    folder = shared_data / "spoken_digits"
    if not folder.is_dir():
        pytest.skip("no spoken digits there")
    index = pd.read_csv(folder / "index.csv")
    index = index[index["digit"].isin([0, 6])]
    tf.keras.utils.set_random_seed(0)
    kind = audio(seconds=1.0, mels=32, filters=[8, 16, 16])
    mels, present = kind.arrays(index["file"], MediaStore(folder))
    assert present.all()
    labels = (index["digit"] == 6).to_numpy()
    known = (index["speaker"] != sorted(index["speaker"].unique())[-1]).to_numpy()
    model = tf.keras.Sequential([kind.encoder(99), tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.Adam(0.005), tf.keras.losses.BinaryCrossentropy(True))
    model.fit(mels[known], labels[known], batch_size=20, epochs=12, verbose=0)
    right = (model(mels[~known]).numpy()[:, 0] > 0) == labels[~known]
    assert right.mean() >= 0.85


class Listener(tf.Module):
    """A model with YAMNet's signature: (scores, embeddings, spectrogram) of one waveform.

    Each frame is 1,000 samples; its embedding is the mean, the mean of squares, and a learned
    scale.
    """

    def __init__(self) -> None:
        self.scale = tf.Variable(2.0)
        self.variables_of_it = [self.scale]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def __call__(self, waveform):
        frames = tf.signal.frame(waveform, 1000, 1000, pad_end=True)
        mean, square = tf.reduce_mean(frames, 1), tf.reduce_mean(frames**2, 1)
        scaled = tf.fill(tf.shape(mean), self.scale)
        return mean[:, None], tf.stack([mean, square, scaled], 1), frames


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hub") / "listener"
    tf.saved_model.save(Listener(), str(folder))
    return str(folder)


def test_a_hub_model_reads_each_recording_to_its_end(handle: str):
    kind = audio(encoder="hub", handle=handle)
    assert kind.frozen
    samples = [(noise(s, 7) * 32768).round() / 32768 for s in (0.5, 0.25)]
    given = prepared(kind, *map(wav, samples), b"")
    assert (given.dtype, given.shape) == (np.int16, (3, 4000))
    layer = kind.encoder(99)
    embeddings = layer(tf.constant(given)).numpy()
    expected = [[s.mean(), (s**2).mean(), 2.0] for s in samples] + [[0, 0, 2.0]]
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    graph = tf.function(layer.call)
    np.testing.assert_allclose(graph(tf.constant(given)), embeddings, atol=1e-6)
    scores = audio(encoder="hub", handle=handle, output="0").encoder(99)
    np.testing.assert_allclose(scores(tf.constant(given))[:, 0], embeddings[:, 0], atol=1e-6)


def test_a_hub_model_without_that_output(handle: str):
    layer = audio(encoder="hub", handle=handle, output="embedding").encoder(99)
    with pytest.raises(ConfigError, match=r"no output 'embedding'; set `output` to one of 0, 1, 2"):
        layer(tf.zeros([1, 4000], tf.int16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "yamnet"}, "unknown audio encoder 'yamnet'; known: conv, hub"),
        ({"encoder": "hub"}, "needs `handle`"),
        ({"rate": 100}, "rate: expected 4000 to 192000, got 100"),
        ({"seconds": 0.0}, "seconds: expected above 0 and up to 600, got 0.0"),
        ({"hop_ms": 50.0}, "hop_ms 50.0 must not exceed"),
        ({"mels": 0}, "mels: expected 1 or more, got 0"),
        ({"filters": [8, 0]}, r"filters\[1\]: expected 1 or more, got 0"),
        ({"filters": []}, "filters: name at least one"),
        ({"time_mask": 1.5}, "time_mask: expected 0 to 1, got 1.5"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        audio(**options)


def test_equal_options_share_an_encoder():
    assert audio().sharing() == audio().sharing()
    assert len({audio().sharing(), audio(mels=17).sharing(), audio(group="x").sharing()}) == 3


def test_more_bands_than_bins_are_finite():
    """Filters that contain no bin give ln(0.001)."""
    spectrum = Spectrum(RATE, 0.1, 25.0, 10.0, 128)
    mels = log_mels(tf.ones([1, 800]), tf.constant([800]), spectrum).numpy()
    assert np.isfinite(mels).all()
    assert mels.min() == np.float16(math.log(0.001))
