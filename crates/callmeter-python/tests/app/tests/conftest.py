import os
import pathlib
import sys

os.environ.setdefault("SHOP_DATABASE", "sqlite://")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
