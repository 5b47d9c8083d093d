"""Benchmark tables out of the files that others publish: one module per format.

* `natsbench`: the official NATS-Bench directories (topology and size), compressed pickles;
* `nasbench201`: the official NAS-Bench-201 file, a torch archive;
* `nasbenchmacro`: NAS-Bench-Macro's JSON;
* `columns`: anybody's CSV or Parquet, by naming its columns; `layouts` knows some by their columns.

No file is trusted: pickles are read with an unpickler that makes plain containers and numpy's values and nothing else.
"""

from nas_gym.tables.importing.columns import Decision, Layout, import_columns
from nas_gym.tables.importing.records import DATASETS
from nas_gym.tables.importing.sources import import_table, save_table

__all__ = ["DATASETS", "Decision", "Layout", "import_columns", "import_table", "save_table"]
