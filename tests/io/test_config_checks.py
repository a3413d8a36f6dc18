"""Range checks of options."""

import pytest

from dctnet.errors import UserError
from dctnet.io.config_checks import Range, check_options

TABLE = {
    "lr": Range(above=0),
    "momentum": Range(at_least=0, below=1),
    "share": Range(at_most=1, nullable=True),
}


def test_values_in_range_and_values_that_are_not_numbers_pass():
    check_options("model", {"lr": 0.1, "momentum": 0, "share": None, "gate": "none", "classes": ["a"]}, TABLE)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", 0, "--model.lr must be above 0, got 0"),
        ("momentum", 1.0, "--model.momentum must be at least 0 and below 1, got 1.0"),
        ("momentum", -0.1, "--model.momentum must be at least 0 and below 1, got -0.1"),
        ("share", 1.5, "--model.share must be at most 1, or null, got 1.5"),
        ("lr", None, "--model.lr must not be null; leave it out for the default"),
        ("gate", None, "--model.gate must not be null; leave it out for the default"),
        ("lr", float("inf"), "--model.lr must be finite, got inf"),
        ("other", float("nan"), "--model.other must be finite, got nan"),
        ("other", -(10**400), "--model.other must be a number of at most 63 bits, got -1000"),
    ],
)
def test_error_names_option_range_and_value(name, value, message):
    with pytest.raises(UserError) as caught:
        check_options("model", {name: value}, TABLE)
    assert str(caught.value).startswith(message)
