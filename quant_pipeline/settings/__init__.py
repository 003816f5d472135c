"""Every setting once: typed, validated, printable without secrets. What uses a setting takes it as an argument."""

from quant_pipeline.settings.load import SettingsError, load_settings
from quant_pipeline.settings.market import MarketSettings
from quant_pipeline.settings.model import Settings

__all__ = ["MarketSettings", "Settings", "SettingsError", "load_settings"]
