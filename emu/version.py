"""The version of emu, which is that of the distribution too."""

VERSION = "0.1.0"
