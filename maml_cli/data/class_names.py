"""The names of classes, as folders and lists spell them."""

import unicodedata


def composed(name: str) -> str:
    """The name with each letter and its accents as one sign, `e` and an acute accent as `é` (NFC).

    Folders from macOS have two signs for such a letter (NFD). Both spellings look alike.
    """
    return unicodedata.normalize("NFC", name)
