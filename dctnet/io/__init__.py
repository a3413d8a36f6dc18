"""Reading and writing of files: atomic writes, regular files, checksums, JSON, strict YAML, torch files; streams."""
