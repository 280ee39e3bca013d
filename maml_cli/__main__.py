"""`python -m maml_cli` is `maml-train`."""

import sys

from maml_cli.commands.train import main

sys.exit(main())
