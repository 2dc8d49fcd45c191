"""Invisible characters: white space, control and format characters."""

from __future__ import annotations

import unicodedata

# The last format character of Unicode, a language tag, is below this.
_END = 0xE0080
BLANK = "".join(
    chr(c) for c in range(_END) if unicodedata.category(chr(c)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
)
"""A text of these alone, such as an ideographic or a zero-width space, counts as empty."""
BLANK_PATTERN = "[" + "".join(f"\\x{{{ord(c):x}}}" for c in BLANK) + "]"
"""The same as a class of RE2, which TensorFlow's text ops read."""
