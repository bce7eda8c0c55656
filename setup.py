"""Where an installed Millrace keeps its flows, tasks and configs: inside `millrace`, so that they clash with nobody's own.

In a checkout they lie at the top (`flows/`, `tasks/`, `configs/`), where people look for them. All else is in pyproject.toml.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
CONFIGS = [folder.relative_to(ROOT) for folder in (ROOT / "configs").rglob("*") if folder.is_dir() and folder.name[0] != "_"]

setup(
    packages=[
        *find_packages(include=["millrace", "millrace.*"]),
        "millrace.flows",
        "millrace.tasks",
        "millrace.configs",
        *(f"millrace.{'.'.join(folder.parts)}" for folder in CONFIGS),
    ],
    package_dir={
        "millrace": "millrace",
        "millrace.flows": "flows",
        "millrace.tasks": "tasks",
        "millrace.configs": "configs",
        **{f"millrace.{'.'.join(folder.parts)}": str(folder) for folder in CONFIGS},
    },
    package_data={"": ["**/*.yaml", "**/*.json", "**/*.j2", "**/*.js", "**/*.txt", "**/*.jpg", "**/*.parquet", "py.typed"]},
)
