"""Product titles without the words that reveal colour, type and usage."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pandas as pd

# A word reveals a value: least number of titles, least share of them, least ratio to the base rate.
LEAST_TITLES = 5
INDICATIVE_SHARE = 0.5
INDICATIVE_LIFT = 3.0

# Colours that titles name and the colour column does not.
OTHER_COLOURS = (
    "aqua coral cyan fuchsia golden gray indigo ivory khakhi melange multicolor multicolored "
    "multicolour multicoloured navy plum ruby scarlet violet wine"
).split()

# What sellers write instead of a type's own words, as met in the titles.
SYNONYMS = {
    "Backpacks": "bag rucksack laptop",
    "Boxers": "trunk brief boxer",
    "Bra": "bras bralette",
    "Briefs": "brief boxer trunk panty panties bikini hipster thong",
    "Capris": "capri pant",
    "Casual Shoes": "sneaker sneakers loafer canvas moccasin espadrille boot",
    "Churidar": "pant legging",
    "Clutches": "clutch bag purse",
    "Deodorant": "deo deos spray",
    "Dresses": "frock gown blouse",
    "Duffel Bag": "duffle",
    "Earrings": "earring studs stud",
    "Flats": "sandal ballerina bellies pump",
    "Flip Flops": "flipflop flop slipper sandal chappal thong",
    "Formal Shoes": "oxford derby loafer brogue",
    "Handbags": "handbag bag tote sling hobo purse satchel",
    "Heels": "heel pump wedge sandal stiletto peeptoe",
    "Innerwear Vests": "vest tshirts",
    "Jackets": "jacket hoodie hood windcheater",
    "Jeans": "jean denim",
    "Jeggings": "jegging legging jean",
    "Kurtas": "kurta kurti kurtis tunic",
    "Kurtis": "kurta kurti tunic",
    "Leggings": "legging tights",
    "Lip Gloss": "lipgloss",
    "Lipstick": "lipcolor lipcolour",
    "Nail Polish": "nailpolish enamel lacquer",
    "Necklace and Chains": "necklace chain pendant",
    "Night suits": "nightsuit nightwear pyjama",
    "Nightdress": "nightwear nighty nightie",
    "Perfume and Body Mist": "perfume edt edp cologne eau toilette deo spray fragrance parfum",
    "Sandals": "sandal slipper floater chappal",
    "Sarees": "saree sari",
    "Shirts": "shirt",
    "Shorts": "short bermuda",
    "Sports Sandals": "sandal floater",
    "Sports Shoes": "sneaker trainer running",
    "Sunglasses": "sunglass goggles wayfarer aviator eyewear",
    "Sweaters": "sweater pullover cardigan",
    "Sweatshirts": "sweatshirt hoodie pullover",
    "Tops": "top tunic blouse tee",
    "Track Pants": "trackpant trackpants track pant",
    "Trousers": "trouser pant chino",
    "Trunk": "boxer brief",
    "Tshirts": "tee tees polo top",
    "Tunics": "tunic top kurta",
    "Watches": "watch chronograph",
}
# T-shirt, T shirt, Tshirt, TShirts: one hyphenated word that no list of words would catch.
_TSHIRT = r"t[\s-]?shirts?"
_KEEP = {"and", "with", "of"}


def strip_title(
    title: str,
    attributes: Iterable[str],
    colours: frozenset[str],
    indicative: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> str:
    """The title without the words that name or reveal its attributes, or a colour; may be empty.

    Words match in any case, singular or plural. A T-shirt in any spelling is removed if the product
    is a kind of shirt or top.

    Args:
      title: The title as the seller wrote it.
      attributes: The product's own attribute values: colour, article type, sub-category, usage.
      colours: The words of every colour of the catalogue (`colour_words`).
      indicative: The words that reveal a value without naming it (`indicative_words`).
    """
    own = tuple(attributes)
    stripped = _pattern(own, colours).sub(" ", title)
    stripped = re.sub(
        r"\w+(?:['’]s)?",
        lambda found: "" if indicative.get(_bare(found[0]), frozenset()) & set(own) else found[0],
        stripped,
    )
    words = [w for w in stripped.split() if any(character.isalnum() for character in w)]
    return " ".join(words)


def indicative_words(titles: pd.Series, attributes: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Words that reveal an attribute without naming it: the values that each word reveals.

    "Dial" reveals watches, and so do brands that sell nothing else. A word reveals a value if at
    least half of the products with the word in their titles have that value, at least three times
    the value's share among all products, and at least five products have the word.

    Args:
      titles: [products] as written by the sellers.
      attributes: [products] rows of the attribute columns.
    """
    words = titles.str.lower().str.findall(r"\w+").map(set).map(sorted).explode().dropna()
    title_counts = words.value_counts()
    common = words[words.map(title_counts).to_numpy() >= LEAST_TITLES]
    values_of: dict[str, set[str]] = {}
    for column in attributes:
        base = attributes[column].value_counts(normalize=True)
        values = attributes[column].loc[common.index]
        pairs = pd.DataFrame({"word": common.to_numpy(), "value": values.to_numpy()})
        for (word, value), count in pairs.value_counts().items():
            share = count / title_counts[word]
            if share >= INDICATIVE_SHARE and share >= INDICATIVE_LIFT * base[value]:
                values_of.setdefault(word, set()).add(value)
    return {word: frozenset(values) for word, values in values_of.items()}


def colour_words(colours: Iterable[str]) -> frozenset[str]:
    """The lower-cased words of these colour names and of `OTHER_COLOURS`."""
    return frozenset(w for c in colours for w in c.lower().split()) | frozenset(OTHER_COLOURS)


def _bare(word: str) -> str:
    return re.sub(r"['’]s$", "", word.lower())


@functools.cache
def _pattern(attributes: tuple[str, ...], colours: frozenset[str]) -> re.Pattern[str]:
    words = set(colours)
    for value in attributes:
        words.update(value.lower().split())
        words.update(SYNONYMS.get(value, "").split())
    forms = {form for word in words - _KEEP for form in _number_forms(word)}
    alternatives = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
    if words & {"tshirts", "shirts", "tops", "topwear"}:
        alternatives.insert(0, _TSHIRT)
    return re.compile(rf"(?<!\w)(?:{'|'.join(alternatives)})(?:['’]s)?(?!\w)", re.IGNORECASE)


def _number_forms(word: str) -> set[str]:
    """The word with the English singular and plural spellings it may have."""
    forms = {word, word + "s", word + "es"}
    if word.endswith("s"):
        forms.add(word[:-1])
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("ves"):
        forms.add(word[:-3] + "f")
    if word.endswith("f"):
        forms.add(word[:-1] + "ves")
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    return forms
