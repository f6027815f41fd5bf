"""What all figures share: colours, an empty figure outside pyplot, axes without ornament."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#2f6db5", "#d9772b", "#2f9161", "#c23b4b", "#7d5bb0", "#8a8f98"
INK = "#2b2f36"


def new_figure(size: tuple[float, float], title: str) -> Figure:
    """An empty figure of `size` inches at 150 dpi, with a heading."""
    figure = Figure(size, dpi=150)
    FigureCanvasAgg(figure)
    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    return figure


def dress(axes: Axes) -> None:
    """A faint grid behind the data, no upper and right border, small labels."""
    axes.grid(color="#e6e8eb", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b9bdc4")
    axes.tick_params(which="both", labelsize=8, labelcolor=INK, length=3, color="#b9bdc4")
