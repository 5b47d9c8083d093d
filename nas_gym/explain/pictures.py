"""Pictures drawn without pyplot, and a figure lent to shap, which draws through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_gym.randomness import isolated_generators


def png(figure: Figure, dpi: int = 100) -> bytes:
    """Return a figure as a PNG, cropped to what is drawn."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.15, facecolor="white")
    return buffer.getvalue()


@contextmanager
def drawn_by_shap(figure: Figure | None = None) -> Iterator[tuple[Any, Figure]]:
    """Give shap, and a figure that is pyplot's current one for as long as the context lasts.

    Pyplot's figures, its settings and the global random generators are as before afterwards; the ones inside are
    seeded.

    Args:
        figure: The figure; None: a new one.
    """
    import matplotlib
    from matplotlib import pyplot
    from matplotlib._pylab_helpers import Gcf
    from matplotlib.backend_bases import FigureManagerBase

    figure = Figure() if figure is None else figure
    active, interactive = Gcf.get_active(), matplotlib.is_interactive()
    number = 1 + max(pyplot.get_fignums(), default=0)
    manager = FigureManagerBase(FigureCanvasAgg(figure), number)
    with isolated_generators(0), matplotlib.rc_context():
        import shap

        Gcf.set_active(manager)
        try:
            yield shap, figure
        finally:
            Gcf.figs.pop(number, None)
            if active is not None:
                Gcf.set_active(active)
            if interactive:
                pyplot.ion()
