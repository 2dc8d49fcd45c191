"""Titles, descriptions and tags of the simulated products, in Chinese, English or both."""

from __future__ import annotations

import numpy as np

from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.world import ATTRIBUTE_NAMES, LANGUAGES, TYPES, column, value_of

DESCRIPTION_MISSING = 0.15
TYPE_IN_TITLE = 0.95
_FILLERS = {
    "zh": ("七天无理由退货。", "全国包邮。", "送礼佳品。", "新老包装随机发货。"),
    "en": ("Free returns.", "Ships in two days.", "A lovely gift.", "Packaging may vary."),
}


def make_texts(
    types: np.ndarray,
    attributes: np.ndarray,
    rng: np.random.Generator,
    kind: Kind = OVERLAPPING,
) -> tuple[list[str], list[str | None], np.ndarray, np.ndarray]:
    """The titles, the descriptions, and what they name.

    Args:
      types: Product type, [items] int.
      attributes: Index of the value per attribute, [items, 7] int.
      rng: Random generator.
      kind: How often texts name each attribute.

    Returns:
      titles: A text per item, Chinese, English or both.
      descriptions: A text per item, or None where missing.
      named: Whether title or description names the attribute, [items, 7] bool.
      type_named: Whether title or description names the product type, [items] bool.
    """
    items = len(types)
    in_title = rng.random(attributes.shape) < [
        kind.in_title.get(name, 0.0) for name in ATTRIBUTE_NAMES
    ]
    in_description = rng.random(attributes.shape) < [
        kind.in_description.get(name, 0.0) for name in ATTRIBUTE_NAMES
    ]
    described = rng.random(items) >= DESCRIPTION_MISSING
    type_in_title = rng.random(items) < TYPE_IN_TITLE
    languages = rng.choice(3, size=items, p=[0.35, 0.35, 0.3])  # Chinese, English, both
    titles: list[str] = []
    descriptions: list[str | None] = []
    for i in range(items):
        both = languages[i] == 2
        spoken = LANGUAGES if both else (LANGUAGES[languages[i]],)
        titles.append(
            " ".join(
                phrase
                for language in spoken
                if (
                    phrase := _title(
                        types[i], attributes[i], in_title[i], type_in_title[i], language, rng
                    )
                )
            )
            or str(value_of("brand", attributes[i, column("brand")]).key)
        )
        language = LANGUAGES[int(rng.random() * 2)] if both else spoken[0]
        descriptions.append(
            _description(types[i], attributes[i], in_description[i], language, rng)
            if described[i]
            else None
        )
    return (
        titles,
        descriptions,
        in_title | (in_description & described[:, None]),
        type_in_title | described,
    )


def _words(
    values: np.ndarray, names: np.ndarray, language: str, rng: np.random.Generator
) -> dict[str, str]:
    return {
        attribute: value_of(attribute, values[a]).word(language, rng)
        for a, attribute in enumerate(ATTRIBUTE_NAMES)
        if names[a]
    }


def _title(
    kind: int,
    values: np.ndarray,
    names: np.ndarray,
    with_type: bool,
    language: str,
    rng: np.random.Generator,
) -> str:
    words = _words(values, names, language, rng)
    order = ("brand", "season", "style", "colour", "pattern", "material")
    phrase = [words[name] for name in order if name in words]
    if with_type:
        phrase.append(TYPES[kind].value.word(language, rng))
    return ("" if language == "zh" else " ").join(phrase)


def _description(
    kind: int, values: np.ndarray, names: np.ndarray, language: str, rng: np.random.Generator
) -> str:
    words = _words(values, names, language, rng)
    word = TYPES[kind].value.word(language, rng)
    filler = _FILLERS[language][int(rng.random() * len(_FILLERS[language]))]
    if language == "zh":
        forms = {
            "material": "{}材质",
            "style": "{}风格",
            "season": "适合{}",
            "colour": "颜色为{}",
            "pattern": "{}图案",
            "brand": "{}出品",
        }
        parts = [form.format(words[name]) for name, form in forms.items() if name in words]
        return ",".join([f"这款{word}", *parts]) + "。" + filler
    forms = {
        "material": "made of {}",
        "style": "in a {} style",
        "season": "for {}",
        "colour": "in {}",
        "pattern": "with a {} design",
        "brand": "by {}",
    }
    parts = [form.format(words[name]) for name, form in forms.items() if name in words]
    return " ".join([f"A {word}", *parts]) + ". " + filler


def make_tags(attributes: np.ndarray, rng: np.random.Generator) -> list[str]:
    """The tags of each item joined by "|": style, season, material, each with probability 0.6."""
    sources = ("style", "season", "material")
    kept = rng.random((len(attributes), len(sources))) < 0.6
    return [
        "|".join(
            value_of(name, values[column(name)]).key
            for name, keep in zip(sources, keeps, strict=True)
            if keep
        )
        for values, keeps in zip(attributes, kept, strict=True)
    ]
