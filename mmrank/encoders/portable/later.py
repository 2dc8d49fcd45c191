"""Characters that only Unicode versions after 12.1 normalise or fold.

TF-Text 2.15 has Unicode 12.1, TF-Text 2.21 has Unicode 16. Characters that both know are normalised
in the same way: Unicode promises that normalisation and case folding are stable. Those of `LATER`
are not: a model trained with one version of TF-Text would read them differently with the next. They
are rare (letters of Vithkuqi, marks of Koranic Arabic), so every version reads them as U+FFFD.
"""

from __future__ import annotations

# First and last code points of characters that TF-Text 2.21, or the Unicode data of Python up to
# 3.13, decomposes, composes, folds or reorders, and that TF-Text 2.15 leaves unchanged.
LATER: tuple[tuple[int, int], ...] = (
    # fmt: off
    (0x0898, 0x089F),
    (0x08CA, 0x08D2),
    (0x0C3C, 0x0C3C),
    (0x1715, 0x1715),
    (0x180F, 0x180F),
    (0x1ABF, 0x1ACE),
    (0x1C89, 0x1C89),
    (0x1DFA, 0x1DFA),
    (0x2C2F, 0x2C2F),
    (0xA7C0, 0xA7C0),
    (0xA7C7, 0xA7C7),
    (0xA7C9, 0xA7C9),
    (0xA7CB, 0xA7CC),
    (0xA7D0, 0xA7D0),
    (0xA7D6, 0xA7D6),
    (0xA7D8, 0xA7D8),
    (0xA7DA, 0xA7DA),
    (0xA7DC, 0xA7DC),
    (0xA7F2, 0xA7F5),
    (0xA82C, 0xA82C),
    (0xAB69, 0xAB69),
    (0x10570, 0x1057A),
    (0x1057C, 0x1058A),
    (0x1058C, 0x10592),
    (0x10594, 0x10595),
    (0x105C9, 0x105C9),
    (0x105E4, 0x105E4),
    (0x10781, 0x10785),
    (0x10787, 0x107B0),
    (0x107B2, 0x107BA),
    (0x10D50, 0x10D65),
    (0x10EAB, 0x10EAC),
    (0x10EFD, 0x10EFF),
    (0x10F82, 0x10F85),
    (0x11070, 0x11070),
    (0x11383, 0x11383),
    (0x11385, 0x11385),
    (0x1138E, 0x1138E),
    (0x11391, 0x11391),
    (0x113C5, 0x113C5),
    (0x113C7, 0x113C8),
    (0x11938, 0x11938),
    (0x1193D, 0x1193E),
    (0x11943, 0x11943),
    (0x11F41, 0x11F42),
    (0x16121, 0x16128),
    (0x16D68, 0x16D6A),
    (0x16FF0, 0x16FF1),
    (0x1CCD6, 0x1CCF9),
    (0x1E030, 0x1E06D),
    (0x1E08F, 0x1E08F),
    (0x1E2AE, 0x1E2AE),
    (0x1E4EC, 0x1E4EF),
    (0x1FBF0, 0x1FBF9),
    # fmt: on
)
PATTERN = "[" + "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in LATER) + "]"  # of RE2
CODES = frozenset(code for first, last in LATER for code in range(first, last + 1))
