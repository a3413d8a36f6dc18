"""The one exception that stands for a mistake in what the user gave."""


class UserError(ValueError):
    """Something given by the user cannot be used: an option, a file, a folder.

    Its message is one line: what was asked, what came, where, what would be right. The command line prints it and ends
    with status 2; any other exception is a defect of ours and keeps its traceback.
    """
