"""The shared library and its declarations, which the build puts here; ``_abi`` gives them types."""

from typing import Any

ffi: Any
lib: Any
