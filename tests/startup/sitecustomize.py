"""Python imports this module at its start when its folder is in PYTHONPATH; see tests/small_backbones.py."""

import sys

if any("dctnet" in argument for argument in sys.orig_argv):  # not, for example, multiprocessing's resource tracker
    from tests.small_backbones import install

    install()
