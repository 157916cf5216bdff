"""The one exception that stands for a mistake of the user's."""


class UserError(Exception):
    """A mistake that the user can mend: shown as one line, exit status 2, no traceback.

    The message names the thing, what was expected and what to do, for example
    ``train.tsv:17: expected "text<TAB>label", got 1 column; is the file comma-separated? then
    name it .csv``.
    """
