"""The report page: one HTML file that says what was fitted, whether to believe it, and what of each patient.

Sections are gathered from a fit as frozen values (`sections`), then rendered (`render`); the words of the
page stand in `report/templates/`.
"""

from __future__ import annotations

from hierarchical_twin.report.page.write import write_report

__all__ = ["write_report"]
