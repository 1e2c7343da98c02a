"""The commands of ``python -m ptq``: one module each, with ``add_command``."""
