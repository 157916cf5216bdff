"""Figures of a run, their files, and the page that shows them."""

from tfcamp.figures.attention import attention_heads, attention_map
from tfcamp.figures.classification import calibration, class_scores, confusion_matrix
from tfcamp.figures.curves import learning_curves
from tfcamp.figures.number_grid import NumberTile, accuracy_by_length, number_grid
from tfcamp.figures.report import Section, Table, write_report
from tfcamp.figures.save import SavedFigure, figure_svg, save_figure
from tfcamp.figures.tables import class_table
from tfcamp.figures.translation import bleu_by_length, translation_table
from tfcamp.figures.trials import option_scores, trial_scores
from tfcamp.figures.words import word_map

__all__ = [
    "NumberTile",
    "SavedFigure",
    "Section",
    "Table",
    "accuracy_by_length",
    "attention_heads",
    "attention_map",
    "bleu_by_length",
    "calibration",
    "class_scores",
    "class_table",
    "confusion_matrix",
    "figure_svg",
    "learning_curves",
    "number_grid",
    "option_scores",
    "save_figure",
    "translation_table",
    "trial_scores",
    "word_map",
    "write_report",
]
