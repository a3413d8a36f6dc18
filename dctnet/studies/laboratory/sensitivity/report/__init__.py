"""The page of the sensitivity study."""
