"""Reading and writing of files: atomic writes, regular files, strict YAML, canonical JSON, torch files."""
