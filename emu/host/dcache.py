"""Cache maintenance of the kernel's C code (Linux v6.12 arch/arm64/include/asm/cacheflush.h)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from emu.host.played import plays
from emu.operation import DC_CIVAC, DSB_SY, Barrier, CacheOp, Operation


@plays("dcache_clean_inval_poc", "arch/arm64/mm/cache.S")
def clean(pa: int) -> Generator[Operation, Any, None]:
    """dcache_clean_inval_poc() of the line at ``pa``: its reader has the MMU off."""
    yield CacheOp(DC_CIVAC, pa)
    yield Barrier(DSB_SY)
