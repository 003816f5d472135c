"""What Dagster loads: the definitions of the settings found here. All wiring is in `build.py`."""

from quant_pipeline.build import build_definitions
from quant_pipeline.settings import load_settings

defs = build_definitions(load_settings())
