"""The product types and attributes of the simulated shop, and the words for them.

Every product has one value per attribute. Every value has words in Chinese and in English, so that
titles, descriptions and queries in both languages can name the same value.
"""

from __future__ import annotations

import dataclasses

import numpy as np

LANGUAGES = ("zh", "en")


@dataclasses.dataclass(frozen=True)
class Value:
    """One value of an attribute: its key and the words that name it in each language."""

    key: str
    zh: tuple[str, ...]
    en: tuple[str, ...]

    def word(self, language: str, rng: np.random.Generator) -> str:
        """One of the words that name the value in `zh` or `en`."""
        words = self.zh if language == "zh" else self.en
        return words[int(rng.random() * len(words))]


@dataclasses.dataclass(frozen=True)
class Hidden:
    """The name and values of an attribute that only one kind of media reveals; see `hidden.py`."""

    name: str
    values: tuple[Value, ...]


@dataclasses.dataclass(frozen=True)
class ProductType:
    """A type of product: its words, its base price in yuan, and its possible materials."""

    value: Value
    price: float
    materials: tuple[str, ...]


def _value(key: str, zh: str, en: str) -> Value:
    return Value(key, tuple(zh.split("/")), tuple(en.split("/")))


_CLOTH = ("cotton", "linen", "silk", "wool", "denim")
_HARD = ("ceramic", "glass", "metal", "plastic")

TYPES = (
    ProductType(_value("dress", "连衣裙/裙装", "dress/gown"), 199, _CLOTH),
    ProductType(_value("tshirt", "T恤/短袖", "t-shirt/tee"), 79, ("cotton", "linen", "silk")),
    ProductType(_value("trousers", "裤子/长裤", "trousers/pants"), 159, _CLOTH),
    ProductType(_value("skirt", "半身裙/短裙", "skirt"), 129, _CLOTH),
    ProductType(
        _value("jacket", "外套/夹克", "jacket/coat"), 399, ("cotton", "wool", "denim", "leather")
    ),
    ProductType(_value("hat", "帽子/礼帽", "hat"), 59, ("cotton", "wool", "linen")),
    ProductType(_value("handbag", "手提包/女包", "handbag/tote"), 299, ("leather", "cotton")),
    ProductType(_value("boot", "靴子/短靴", "boots/ankle boots"), 349, ("leather", "wool")),
    ProductType(
        _value("phone_case", "手机壳/iPhone手机壳", "phone case/iPhone case"),
        39,
        ("silicone", "plastic", "leather"),
    ),
    ProductType(_value("mug", "马克杯/杯子", "mug/cup"), 49, _HARD),
    ProductType(_value("umbrella", "雨伞/伞", "umbrella"), 69, ("plastic", "silk")),
    ProductType(_value("lamp", "台灯/灯", "lamp/table lamp"), 189, _HARD),
    ProductType(_value("sock", "袜子/长袜", "socks"), 25, ("cotton", "wool", "silk")),
    ProductType(_value("cushion", "抱枕/靠垫", "cushion/pillow"), 55, _CLOTH),
)

COLOURS = (
    _value("red", "红色/大红", "red"),
    _value("orange", "橙色/橘色", "orange"),
    _value("yellow", "黄色", "yellow"),
    _value("green", "绿色", "green"),
    _value("blue", "蓝色", "blue"),
    _value("purple", "紫色", "purple/violet"),
    _value("pink", "粉色/粉红", "pink"),
    _value("brown", "棕色/咖啡色", "brown"),
    _value("black", "黑色", "black"),
    _value("white", "白色", "white"),
    _value("grey", "灰色", "grey/gray"),
)

PATTERNS = (
    _value("plain", "纯色", "plain/solid"),
    _value("striped", "条纹", "striped/stripes"),
    _value("dotted", "波点/圆点", "polka dot/dotted"),
    _value("checked", "格子/格纹", "checked/plaid"),
    _value("floral", "碎花/印花", "floral/flower"),
)
PATTERN_SHARES = (0.32, 0.20, 0.16, 0.16, 0.16)

MATERIALS = (
    _value("cotton", "纯棉/棉质", "cotton"),
    _value("linen", "亚麻", "linen"),
    _value("silk", "真丝/丝绸", "silk"),
    _value("wool", "羊毛", "wool"),
    _value("denim", "牛仔", "denim"),
    _value("leather", "真皮/皮质", "leather"),
    _value("silicone", "硅胶", "silicone"),
    _value("plastic", "塑料", "plastic"),
    _value("ceramic", "陶瓷", "ceramic"),
    _value("glass", "玻璃", "glass"),
    _value("metal", "金属", "metal"),
)

STYLES = (
    _value("casual", "休闲", "casual"),
    _value("elegant", "优雅/气质", "elegant"),
    _value("sporty", "运动", "sporty"),
    _value("vintage", "复古", "vintage/retro"),
    _value("minimalist", "简约/极简", "minimalist/simple"),
    _value("cute", "可爱", "cute"),
)

SEASONS = (
    _value("spring", "春季/春天", "spring"),
    _value("summer", "夏季/夏天", "summer"),
    _value("autumn", "秋季/秋天", "autumn"),
    _value("winter", "冬季/冬天", "winter"),
)

_BRAND_NAMES = (
    "青禾/Qinghe 云朵/Yunduo 松间/Songjian 木槿/Mujin 海棠/Haitang 北岸/Beian 白鹿/Bailu "
    "南风/Nanfeng 星野/Xingye 半夏/Banxia 鹿鸣/Luming 山月/Shanyue 露玛/Luma 诺丁/Nordin "
    "维瑞/Verrio 卡索/Kasolo 米拉/Mirabel 塔林/Tallin 欧文/Owenby 佩拉/Pellar"
)
BRANDS = tuple(
    _value(pair.split("/")[1], pair.split("/")[0], pair.split("/")[1])
    for pair in _BRAND_NAMES.split()
)

# No query asks for the middle price tier, so it has words only for completeness.
PRICE_TIERS = (
    _value("low", "便宜/平价", "cheap/budget"),
    _value("middle", "中档", "mid-range"),
    _value("high", "高档/高端", "premium/luxury"),
)

# The attributes other than the type, in the column order of every [items, attributes] array.
ATTRIBUTES: dict[str, tuple[Value, ...]] = {
    "colour": COLOURS,
    "pattern": PATTERNS,
    "material": MATERIALS,
    "style": STYLES,
    "season": SEASONS,
    "brand": BRANDS,
    "price": PRICE_TIERS,
}
ATTRIBUTE_NAMES = tuple(ATTRIBUTES)


def column(attribute: str) -> int:
    """The column of an attribute in every [items, attributes] array."""
    return ATTRIBUTE_NAMES.index(attribute)


def value_of(attribute: str, index: int) -> Value:
    """The value of an attribute with this index."""
    return ATTRIBUTES[attribute][index]
