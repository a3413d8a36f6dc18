"""One page that says what a benchmark found."""
