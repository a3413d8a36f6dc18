"""Networks of torchvision and timm: what is known of each family, and their stems replaced by an entry for channels."""
