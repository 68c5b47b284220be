"""docs/keys.md, from the classes that take the keys and the YAML files that set them."""
