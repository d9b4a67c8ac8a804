"""Everything that can be set. Pure Python: a machine without a command-line parser, or without torch, can read and write configurations."""

from growreel.config.effects import changed_settings, check_effects, idle_settings
from growreel.config.files import from_dict, load_config, load_preset, preset_names, to_dict, to_yaml
from growreel.config.growth import GrowthConfig, StageConfig, paper_minibatch
from growreel.config.loss import LossConfig, RelativisticConfig, SANConfig, SlicedConfig, WassersteinGPConfig
from growreel.config.schema import Config, NetworkConfig, OptimizerConfig, Precision, TrainingConfig

__all__ = [
    "Config",
    "GrowthConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "Precision",
    "RelativisticConfig",
    "SANConfig",
    "SlicedConfig",
    "StageConfig",
    "TrainingConfig",
    "WassersteinGPConfig",
    "changed_settings",
    "check_effects",
    "from_dict",
    "idle_settings",
    "load_config",
    "load_preset",
    "paper_minibatch",
    "preset_names",
    "to_dict",
    "to_yaml",
]
