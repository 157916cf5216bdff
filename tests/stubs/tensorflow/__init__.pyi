# TensorFlow builds its namespace at import time and publishes no types. The sketch of it that comes
# with pyright lacks much of what is used here, so that attributes could not be checked anywhere.
from typing import Any

def __getattr__(name: str) -> Any: ...
