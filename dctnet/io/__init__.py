"""Files, read and written safely: atomic writes, strict YAML, canonical JSON, torch files."""
