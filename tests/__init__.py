"""Tests of localai-deploy."""
