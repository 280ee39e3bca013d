"""The names of classes, as folders and lists spell them."""

import unicodedata


def composed(name: str) -> str:
    """The name with each letter and its accents as one sign, `e` and an acute accent as `é` (NFC).

    macOS may write the letter and its accent as two characters (NFD). The two spellings look alike.
    """
    return unicodedata.normalize("NFC", name)
