"""A report of figures and tables: one HTML page for people, `report.json` for machines."""

from models.training.report.cells import Column
from models.training.report.page import Report

__all__ = ["Column", "Report"]
