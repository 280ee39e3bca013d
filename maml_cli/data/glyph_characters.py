"""The characters of the `glyphs` data set, as code points in hexadecimal.

They were chosen by a rule, once, so that no version of a font renderer changes them. Script by script
in this order and by code point: a letter or digit without decomposition that DejaVu Sans has in regular
and bold, unless it looks like one before it, as Greek Alpha looks like Latin A; at most 64 a script.

Two characters look alike if the cosine between their regular shapes is above 0.88. A shape is scaled
to 24 pixels along its longer side, centred on 28 x 28 and blurred by one pixel; the comparison is made
as it is, and once more with the shorter side half as long again (but within the 24 pixels).
"""

SCRIPTS = {
    "Digits": "30-37 39",
    "Latin": "41-43 45 48-4E 50-52 54-5A 61-62 64-66 6B 6D-6E 71-72 74",
    "Greek": "393-394 39E 3A3 3A6 3A8 3B1-3B2 3B6 3BB-3BC 3BE 3C0-3C2 3C9",
    "Cyrillic": "402 409-40B 40F 414 416 418 41B 423 427-42B 42E-42F 43A 446 44C 452 45B",
    "Armenian": (
        "533 536-53B 53D-544 546-547 54A 54C 54E-54F 554 556 567 569 56B 56D-56F 579-57C 57E "
        "583 586"
    ),
    "Georgian": "10D1-10D4 10D9-10DA 10DD 10E0-10E5 10E8-10E9 10ED 10EF-10F0 10F2 10F4 10F6",
    "Hebrew": "5D0-5D3 5DA 5DC 5DE 5E2-5E3 5E6-5EA",
    "Arabic": "621 628 62A-62C 62E-634 637 639-63A 641-646 648-64A",
    "Lao": "E82 E84 E87-E88 E8A E8D E95-E97 E99 E9C-E9D EA5 EAA EAE",
    "N'Ko": "7C2-7C7 7C9 7CC 7CF 7D1-7D4 7D6-7D8 7DA 7DD-7DF 7E2-7E5",
    "Ogham": "1682-1684 1687-1689 168B-168D 168F-1691 1694-1697",
    "Tifinagh": (
        "2D32 2D35 2D3A 2D3C-2D3F 2D41-2D44 2D46 2D48 2D4B 2D50 2D52-2D53 2D56-2D58 2D5B 2D62-2D64"
    ),
    "Old Italic": "10302 1030C-1030D 10312 10314-10316 1031B-1031C",
    "Georgian capitals": "10A1-10A2 10A5-10A7 10A9-10AC 10B5 10B8 10BC 10BE-10BF 10C1 10C3-10C5",
    "Phonetic": (
        "254-255 257 25A 25D 260 263 267 26C 26E 276 279-27B 27D-27E 281-282 284-287 289 28D "
        "290-291 293-296 29E 2A3-2A4 2A6-2AE"
    ),
    "Canadian syllabics": (
        "1402 1405-1406 140A-140D 140F 1412-1415 1418 141A 141F-1420 1425 142B-142C 142E "
        "1432-1434 1438-1439 143C 143F-1444 1446 144D 144F 1451 1456-145E 1460-1463 146C "
        "146E-1471 1474 1476-147B 147F-1480 148C"
    ),
}


def _code_points(ranges: str) -> list[int]:
    bounds = [[int(end, 16) for end in part.split("-")] for part in ranges.split()]
    return [point for ends in bounds for point in range(ends[0], ends[-1] + 1)]


CHARACTERS = tuple(chr(point) for ranges in SCRIPTS.values() for point in _code_points(ranges))
