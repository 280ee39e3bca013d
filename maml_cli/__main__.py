"""`python -m maml_cli` is `maml-train`."""

import sys

from maml_cli.cli import main

sys.exit(main())
