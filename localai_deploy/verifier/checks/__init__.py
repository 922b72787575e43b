"""The checks: every ``test_*.py`` here runs on every host (see :mod:`localai_deploy.verifier.checking`)."""
