"""What pyproject.toml cannot say: every package below emu/, and asm/ installed as emu/asm."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["emu", "emu.*"]), "emu.asm"],
    package_dir={"emu.asm": "asm"},
)
