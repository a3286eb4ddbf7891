"""PSCI numbers (Arm DEN0022, 5.1 function identifiers and 5.2.2 return codes; SMCCC DEN0028)."""

from __future__ import annotations

from enum import IntEnum


class Function(IntEnum):
    """Function identifiers, w0 of the call."""

    PSCI_VERSION = 0x8400_0000
    CPU_SUSPEND32 = 0x8400_0001
    CPU_OFF = 0x8400_0002
    CPU_ON32 = 0x8400_0003
    AFFINITY_INFO32 = 0x8400_0004
    MIGRATE_INFO_TYPE = 0x8400_0006
    SYSTEM_OFF = 0x8400_0008
    SYSTEM_RESET = 0x8400_0009
    PSCI_FEATURES = 0x8400_000A
    CPU_SUSPEND64 = 0xC400_0001
    CPU_ON64 = 0xC400_0003
    AFFINITY_INFO64 = 0xC400_0004
    SMCCC_VERSION = 0x8000_0000
    SMCCC_ARCH_FEATURES = 0x8000_0001


class Return(IntEnum):
    """Return codes, x0 after the call."""

    PSCI_RET_SUCCESS = 0
    PSCI_RET_NOT_SUPPORTED = -1
    PSCI_RET_INVALID_PARAMS = -2
    PSCI_RET_DENIED = -3
    PSCI_RET_ALREADY_ON = -4
    PSCI_RET_ON_PENDING = -5
    PSCI_RET_INTERNAL_FAILURE = -6
    PSCI_RET_NOT_PRESENT = -7
    PSCI_RET_DISABLED = -8
    PSCI_RET_INVALID_ADDRESS = -9


class Affinity(IntEnum):
    """AFFINITY_INFO results."""

    ON = 0
    OFF = 1
    ON_PENDING = 2


def function_words(function_id: int) -> str:
    """Return the name of a function (u64: x0 of a call), or that it is another one, with its number."""
    try:
        return Function(function_id & 0xFFFF_FFFF).name
    except ValueError:
        return f"function {function_id:#x}"


VERSION_1_1 = 1 << 16 | 1
MIGRATE_NOT_REQUIRED = 2  # Trusted OS is not present or needs no migration
