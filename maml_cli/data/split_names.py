"""What people call the three splits."""

import re

NAMES = {
    "train": ("train", "training", "trn", "base"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "novel", "eval", "evaluation"),
}
_SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}


def split_of(name: str) -> str | None:
    """The split that a folder or list holds: `val` for `Validation`, `meta-val`, `val_images`."""
    plain = re.sub(r"[^a-z]", "", name.lower()).removeprefix("meta")
    return _SPLIT_OF.get(re.sub("(set|images|data)$", "", plain))


def split_at_end(name: str) -> str | None:
    """The same for a name that ends with the split's, after a mark: `mini_train`, `cache-val`."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return _SPLIT_OF.get(words[-1]) if words else None
