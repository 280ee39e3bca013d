"""The little arithmetic that the YAML files need beyond Hydra's own resolvers."""

from omegaconf import OmegaConf


def share(whole: int, fraction: float) -> int:
    """`max(1, round(fraction * whole))`: part of a schedule, such as a tenth of the epochs."""
    return max(1, round(fraction * whole))


def either(value: object, otherwise: object) -> object:
    """The value, or what stands for it where it is null, such as `shots` for `train_shots`."""
    return otherwise if value is None else value


def register() -> None:
    """Make `${share:whole,fraction}` and `${either:key,key}` known; may be called again."""
    OmegaConf.register_new_resolver("either", either, replace=True)
    OmegaConf.register_new_resolver("share", share, replace=True)
