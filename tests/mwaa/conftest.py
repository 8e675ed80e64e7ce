"""The demo's dags folder is an import root, as on MWAA, wherever the package is installed."""

import sys
from importlib.resources import files

sys.path.insert(0, str(files("tradewind.mwaa.demo") / "dags"))
