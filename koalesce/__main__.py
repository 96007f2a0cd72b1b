"""`python -m koalesce` is `koalesce`."""

from koalesce.cli.main import entry

entry()
