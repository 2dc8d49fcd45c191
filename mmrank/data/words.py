"""The words of a text, as baselines and codes count them."""

from __future__ import annotations

import re
import unicodedata

_IDEOGRAM = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(f"[{_IDEOGRAM}]|(?:(?![{_IDEOGRAM}])[^\\W_])+")


def tokens(text: str) -> list[str]:
    """The lower-cased words of a text; every Chinese or Japanese character is its own token."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())
