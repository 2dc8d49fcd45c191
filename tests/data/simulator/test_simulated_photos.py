import io

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from mmrank.data.simulator import photos, shapes, world


def _sample(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(len(world.TYPES), size=count)
    colours = rng.integers(len(world.COLOURS), size=count)
    patterns = rng.integers(len(world.PATTERNS), size=count)
    pictures = [
        photos.draw_photo(int(k), int(c), int(p), rng)
        for k, c, p in zip(kinds, colours, patterns, strict=True)
    ]
    return np.stack(pictures), kinds, colours, patterns


def test_the_same_seed_draws_the_same_photo() -> None:
    one, other = (photos.draw_photo(2, 4, 1, np.random.default_rng(7)) for _ in range(2))
    assert one.shape == (photos.SIZE, photos.SIZE, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("colour", range(len(world.COLOURS)))
def test_a_plain_product_shows_its_colour(colour: int) -> None:
    cushion = [kind.value.key for kind in world.TYPES].index("cushion")
    photo = photos.draw_photo(cushion, colour, 0, np.random.default_rng(colour))
    # A cushion covers the middle of the photo at any offset. The shade has a standard deviation of
    # 7 per channel; the two closest colours of the palette differ by 108, summed over channels.
    middle = photo[28:36, 28:36].reshape(-1, 3).mean(axis=0)
    distances = np.abs(photos.PALETTE - middle).sum(axis=1)
    assert int(np.argmin(distances)) == colour


def test_silhouettes_distinguish_shapes() -> None:
    """A nearest-neighbour classifier on coarse pixels is far better than random (1 in 14)."""
    pictures, kinds, _, _ = _sample(900, 0)
    coarse = np.stack(
        [np.asarray(Image.fromarray(p).resize((16, 16)), dtype=float) for p in pictures]
    )
    away = np.abs(coarse - coarse[:, :1, :1]).sum(axis=3)  # the corner is background
    silhouette = away.clip(0, 90).reshape(len(pictures), -1)
    model = KNeighborsClassifier(3).fit(silhouette[:700], kinds[:700])
    assert model.score(silhouette[700:], kinds[700:]) > 0.5


@pytest.mark.parametrize("pattern", range(len(world.PATTERNS)))
def test_a_pattern_repeats_and_covers_less_than_half(pattern: int) -> None:
    period = 11
    cover = shapes.tile(pattern, period)
    # A pattern covers less than half of the colour, so that the colour remains the main one.
    assert cover.mean() < 0.5
    if world.PATTERNS[pattern].key == "plain":
        assert not cover.any()
    else:
        assert cover.mean() > 0.1
        if world.PATTERNS[pattern].key != "floral":
            np.testing.assert_array_equal(
                cover[:period, :period], cover[period : 2 * period, :period]
            )


def test_stripes_are_rows_and_checks_are_rows_and_columns() -> None:
    keys = [pattern.key for pattern in world.PATTERNS]
    stripes, checks = (shapes.tile(keys.index(k), 10) for k in ("striped", "checked"))
    assert (stripes == stripes[:, :1]).all()
    np.testing.assert_array_equal(checks, checks.T)


@pytest.mark.parametrize("seed", range(12))
def test_no_decoder_reads_a_broken_photo(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = photos.encoded(photos.draw_photo(0, 0, 1, rng))
    Image.open(io.BytesIO(data)).load()
    with pytest.raises(OSError):  # noqa: PT011 - Pillow has no narrower error for a cut file
        Image.open(io.BytesIO(photos.broken(data, rng))).load()


def test_shares_of_missing_and_broken_photos() -> None:
    states = photos.photo_states(20_000, np.random.default_rng(0))
    # Binomial: three standard deviations are 3 sqrt(.08 .92 / 20000) = .006 and .003.
    assert (states == "missing").mean() == pytest.approx(0.08, abs=0.006)
    assert (states == "broken").mean() == pytest.approx(0.02, abs=0.003)
