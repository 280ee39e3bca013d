"""The names of classes, as folders and lists spell them."""

import unicodedata


def composed(name: str) -> str:
    """The name with each letter and its accents as one sign, `e` and an acute accent as `é` (NFC).

    On macOS a name may hold the letter and the accent as two characters (NFD). It looks the same.
    """
    return unicodedata.normalize("NFC", name)
