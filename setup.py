"""Package folders: `methods/`, `protocols/` and `benchmarks/` lie beside `vhbench/` and are installed inside it."""

from setuptools import find_packages, setup

FOLDERS = {f"vhbench.{name}": name for name in ("methods", "protocols", "benchmarks")}

packages = find_packages(include=["vhbench", "vhbench.*"])
for name, folder in FOLDERS.items():
    packages += [name, *(f"{name}.{sub}" for sub in find_packages(folder))]

setup(packages=packages, package_dir={"vhbench": "vhbench", **FOLDERS})
