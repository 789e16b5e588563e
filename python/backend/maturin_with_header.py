"""The build backend: maturin, given the checked-in header.

maturin's cffi bindings read ``header.h`` in cargo's target directory, and run cbindgen where there
is none. The header of this project is checked in and compared with the source by a test, so it is
what Python gets too. cffi takes declarations and ``#define NAME number``, and nothing else that a
preprocessor does; what it cannot take is left out here, and what is not known is refused.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import maturin
from maturin import (  # noqa: F401 -- the hooks that need no header
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

HEADER = Path("include/handoff_watcher.h")
NUMBER = re.compile(r"#define \w+ -?\d+")
# Guards, includes, and the initialiser, which only a C compiler can use.
LEFT_OUT = re.compile(r"#(ifndef|include|endif|define (HANDOFF_WATCHER_H|HANDOFF_CONFIG_INIT)\b)")
Settings = Mapping[str, Any]


def build_wheel(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel, as PEP 517 has it."""
    _provide_header()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: Settings | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build an editable wheel, as PEP 660 has it."""
    _provide_header()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def declarations(header: str) -> str:
    """Give what cffi can take of a C header: declarations, and constants that are numbers."""
    return "\n".join(_declarations(header)) + "\n"


def _declarations(header: str) -> Iterator[str]:
    in_cpp = False
    for line in header.replace("\\\n", " ").splitlines():
        if line.startswith("#ifdef __cplusplus"):
            in_cpp = True
        elif in_cpp:
            in_cpp = not line.startswith("#endif")
        elif not line.startswith("#") or NUMBER.fullmatch(line):
            yield line
        elif not LEFT_OUT.match(line):
            raise ValueError(f"{HEADER}: cffi cannot take this line: {line}")


def _provide_header() -> None:
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    target = Path(metadata["target_directory"])
    target.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: another build may be reading it.
    temporary = target / f"header.h.{os.getpid()}"
    temporary.write_text(declarations(HEADER.read_text("utf-8")), "utf-8")
    temporary.replace(target / "header.h")
