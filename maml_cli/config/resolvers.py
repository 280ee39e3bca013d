"""The one arithmetic that the YAML files need beyond Hydra's own resolvers."""

from omegaconf import OmegaConf


def share(whole: int, fraction: float) -> int:
    """`max(1, round(fraction * whole))`: part of a schedule, such as a tenth of the epochs."""
    return max(1, round(fraction * whole))


def register() -> None:
    """Make `${share:whole,fraction}` known to OmegaConf; may be called again."""
    OmegaConf.register_new_resolver("share", share, replace=True)
