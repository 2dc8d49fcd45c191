"""Units of measure in shops' data: the base unit of each, and the factor to it.

Example:
  >>> UNITS["cm"], UNITS["厘米"]
  (('metre', 0.01), ('metre', 0.01))
  >>> base, factor = UNITS["oz"]
  >>> f"16 oz are {16 * factor:.1f} {base}s"
  '16 oz are 453.6 grams'
"""

from __future__ import annotations

from collections.abc import Mapping

# The base unit and the factor to it, by spelling in lower case and NFKC (which turns ″ into two
# characters). A spelling with several meanings, such as `m`, has the one most common in shops.
UNITS: Mapping[str, tuple[str, float]] = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "毫米"), ("metre", 0.001)),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "厘米"), ("metre", 0.01)),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres", "米"), ("metre", 1.0)),
    **dict.fromkeys(("km",), ("metre", 1000.0)),
    **dict.fromkeys(
        ("in", "in.", "inch", "inches", '"', "''", "′′", "英寸", "寸"), ("metre", 0.0254)
    ),
    **dict.fromkeys(("ft", "ft.", "foot", "feet", "'", "′", "英尺"), ("metre", 0.3048)),
    **dict.fromkeys(("yd", "yard", "yards"), ("metre", 0.9144)),
    **dict.fromkeys(("mg", "毫克"), ("gram", 0.001)),
    **dict.fromkeys(("g", "gr", "gram", "grams", "克"), ("gram", 1.0)),
    **dict.fromkeys(("kg", "kilogram", "kilograms", "千克", "公斤"), ("gram", 1000.0)),
    **dict.fromkeys(("oz", "oz.", "ounce", "ounces"), ("gram", 28.349523125)),
    **dict.fromkeys(("lb", "lb.", "lbs", "lbs.", "pound", "pounds"), ("gram", 453.59237)),
    **dict.fromkeys(("ml", "milliliter", "milliliters", "millilitre", "毫升"), ("litre", 0.001)),
    **dict.fromkeys(("cl",), ("litre", 0.01)),
    **dict.fromkeys(("l", "liter", "litre", "liters", "litres", "升"), ("litre", 1.0)),
    **dict.fromkeys(("gal", "gal.", "gallon", "gallons"), ("litre", 3.785411784)),
    **dict.fromkeys(("fl oz", "fl. oz."), ("litre", 0.0295735295625)),
    **dict.fromkeys(("pt", "pint", "pints"), ("litre", 0.473176473)),
    **dict.fromkeys(("qt", "quart", "quarts"), ("litre", 0.946352946)),
    **dict.fromkeys(("cu ft", "cubic feet"), ("litre", 28.316846592)),
    **dict.fromkeys(("w", "watt", "watts", "瓦"), ("watt", 1.0)),
    **dict.fromkeys(("kw",), ("watt", 1000.0)),
    **dict.fromkeys(("hp",), ("watt", 745.699872)),
    **dict.fromkeys(("v", "volt", "volts", "伏"), ("volt", 1.0)),
    **dict.fromkeys(("a", "amp", "amps", "ampere", "安"), ("ampere", 1.0)),
    **dict.fromkeys(("ma",), ("ampere", 0.001)),
    **dict.fromkeys(("mah",), ("ampere hour", 0.001)),
    **dict.fromkeys(("ah",), ("ampere hour", 1.0)),
    **dict.fromkeys(("kb",), ("byte", 1000.0)),
    **dict.fromkeys(("mb",), ("byte", 1000000.0)),
    **dict.fromkeys(("gb",), ("byte", 1000000000.0)),
    **dict.fromkeys(("tb",), ("byte", 1000000000000.0)),
    **dict.fromkeys(("hz",), ("hertz", 1.0)),
    **dict.fromkeys(("khz",), ("hertz", 1000.0)),
    **dict.fromkeys(("mhz",), ("hertz", 1000000.0)),
    **dict.fromkeys(("ghz",), ("hertz", 1000000000.0)),
    **dict.fromkeys(("%", "percent"), ("percent", 1.0)),
    **dict.fromkeys(("°", "deg", "degree", "degrees", "°c", "°f"), ("degree", 1.0)),
    **dict.fromkeys(("ms",), ("second", 0.001)),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ("second", 1.0)),
    **dict.fromkeys(("min", "minute", "minutes", "分钟"), ("second", 60.0)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时"), ("second", 3600.0)),
    **dict.fromkeys(("sq ft", "square feet"), ("square metre", 0.09290304)),
    **dict.fromkeys(("lm", "lumen", "lumens"), ("lumen", 1.0)),
    **dict.fromkeys(("gpm",), ("litre a minute", 3.785411784)),
    **dict.fromkeys(("btu",), ("joule", 1055.05585262)),
    **dict.fromkeys(
        (*"pack packs pk ct count pc pcs piece pieces set".split(), "只", "件", "包"),
        ("piece", 1.0),
    ),
}
