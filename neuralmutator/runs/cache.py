"""JAX's persistent compilation cache: programs that were compiled once are read from disk the next time."""

import os
import sys
from pathlib import Path

SWITCH = "NEURALMUTATOR_COMPILATION_CACHE"
"""Environment variable: 0 turns the cache off."""


def cache_folder() -> Path:
    """Where this user's compiled programs are kept, by the conventions of the platform."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "neuralmutator" / "jax"


def use_cache() -> None:
    """Lets JAX keep compiled programs in `cache_folder`, unless the user has named another, or wants none.

    ``JAX_COMPILATION_CACHE_DIR`` and JAX's other variables are respected; ``NEURALMUTATOR_COMPILATION_CACHE=0`` turns
    the cache off.
    """
    import jax

    if os.environ.get(SWITCH) == "0":
        jax.config.update("jax_enable_compilation_cache", False)
        return
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    # JAX keeps by default what took a second to compile; here many small programs add up to seconds.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    if "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES" not in os.environ:
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
