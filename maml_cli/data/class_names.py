"""The names of classes, as folders and lists spell them."""

import unicodedata


def composed(name: str) -> str:
    """The name with each letter and its accents as one sign, `e` and an acute accent as `é` (NFC).

    Both spellings look alike. Folders from macOS have the other one.
    """
    return unicodedata.normalize("NFC", name)
