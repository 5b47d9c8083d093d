"""The report of a run: one page of HTML that asks for nothing else, and the same as Markdown.

`write_report` reads the run directory alone: neither the data nor the environment. Every section is a function from
what was read (`Material`) to a `Section`, and says in a sentence why it has nothing to tell where that is so.
"""

from nas_gym.report.writing import PAGE, PICTURES, REPORT, Written, report, write_report

__all__ = ["PAGE", "PICTURES", "REPORT", "Written", "report", "write_report"]
