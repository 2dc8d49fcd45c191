import pytest

from mmrank.data.simulator import photos, shapes, world


def test_every_value_has_words_in_both_languages() -> None:
    values = [v for group in world.ATTRIBUTES.values() for v in group]
    for value in values + [t.value for t in world.TYPES]:
        assert min(len(value.zh), len(value.en)) > 0, value.key
        assert all(value.zh + value.en), value.key


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_word_names_two_values(language: str) -> None:
    values = [v for group in world.ATTRIBUTES.values() for v in group]
    values += [t.value for t in world.TYPES]
    words = [word for value in values for word in getattr(value, language)]
    assert len(words) == len(set(words))


def test_every_material_of_a_type_is_a_material() -> None:
    known = {material.key for material in world.MATERIALS}
    assert all(set(kind.materials) <= known for kind in world.TYPES)


def test_every_visible_value_can_be_drawn() -> None:
    for kind in range(len(world.TYPES)):
        assert all(part.getbbox() is not None for part in shapes.outline(kind)[::2])
    for pattern in range(len(world.PATTERNS)):
        cover = shapes.tile(pattern, photos.PERIODS[0])
        assert cover.min() >= 0
        assert cover.max() <= 1
    assert sum(world.PATTERN_SHARES) == pytest.approx(1)
