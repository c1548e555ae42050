"""Figures for papers, as PDF, SVG or PNG at the width of a column or page, with their data beside them as CSV."""

from vhbench.report.figures.distances import draw_distances as draw_distances
from vhbench.report.figures.look import LOOK as LOOK
from vhbench.report.figures.look import WIDTHS as WIDTHS
from vhbench.report.figures.look import Look as Look
from vhbench.report.figures.look import check_path as check_path
from vhbench.report.figures.look import style as style
from vhbench.report.figures.map_k import draw_map as draw_map
from vhbench.report.figures.pr import draw_pr as draw_pr
from vhbench.report.figures.tradeoff import draw_tradeoff as draw_tradeoff
from vhbench.report.figures.wins import draw_wins as draw_wins
