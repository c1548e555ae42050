"""The HTML report: every result of a folder on one self-contained page."""

from vhbench.report.page.build import write_page as write_page
