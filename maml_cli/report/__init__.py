"""Many runs in one report: tables as in the papers, published numbers beside, charts."""
