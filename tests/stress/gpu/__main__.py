"""Starts :mod:`tests.stress.gpu.command`; worker processes, which import this module again, do not import that one."""

import sys

if __name__ == "__main__":
    from tests.stress.gpu.command import main

    sys.exit(main())
