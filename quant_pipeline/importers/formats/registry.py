"""The known families, in the order in which they are tried: the special ones before the plain one."""

from __future__ import annotations

from quant_pipeline.importers.formats.alpaca import ALPACA_SDK
from quant_pipeline.importers.formats.exported import EXPORTED
from quant_pipeline.importers.formats.lean import LEAN
from quant_pipeline.importers.formats.nasdaq import NASDAQ
from quant_pipeline.importers.formats.plain import PLAIN
from quant_pipeline.importers.formats.upbit import PYUPBIT, UPBIT_KOREAN, UPBIT_UTC
from quant_pipeline.importers.formats.yahoo import YAHOO
from quant_pipeline.importers.values import Format

FORMATS: tuple[Format, ...] = (EXPORTED, YAHOO, NASDAQ, ALPACA_SDK, UPBIT_UTC, PYUPBIT, UPBIT_KOREAN, LEAN, PLAIN)
