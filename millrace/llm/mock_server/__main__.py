"""`python -m millrace.llm.mock_server`: see serve.py."""

import sys

from millrace.llm.mock_server.serve import main

sys.exit(main())
