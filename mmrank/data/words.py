"""The words of a text, for baselines and item codes."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd

_IDEOGRAM = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = r"[぀-ヿ㐀-鿿가-힣]|[^\W぀-ヿ㐀-鿿가-힣]+"
_TOKEN = re.compile(f"[{_IDEOGRAM}]|(?:(?![{_IDEOGRAM}])[^\\W_])+")


def tokens(text: str) -> list[str]:
    """The lower-cased words of a text; every Chinese or Japanese character is its own token.

    Example:
      >>> tokens("Red-Dress 500ml 红裙")
      ['red', 'dress', '500ml', '红', '裙']
    """
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def count_words(texts: pd.Series) -> np.ndarray:
    """How many words each text that is not empty has, int64; an ideograph is a word.

    Args:
      texts: Texts, "" where missing.

    Example:
      >>> count_words(pd.Series(["a red dress", "", "红色 dress"])).tolist()
      [3, 3]
    """
    return texts[texts != ""].str.count(_WORD).to_numpy(np.int64)
