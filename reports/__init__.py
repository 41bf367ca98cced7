"""What was found: statistics, ratings, tables, plots and the page.

```python
import reports

results = reports.load("studies/sampling")  # tidy tables: results.cells, .scores, .votes
reports.write(["studies/sampling"])  # tables, plots and report/index.html
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.report import Written, write
    from reports.results import Results, load

__all__ = ["Results", "Written", "load", "write"]

_HOME = {"Results": "results", "load": "results", "Written": "report", "write": "report"}


def __getattr__(name: str) -> Any:
    """Import on first use: `import reports` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'reports' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"reports.{_HOME[name]}"), name)
