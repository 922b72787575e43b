"""Prove that a host is as planned: testinfra checks over an Ansible inventory, and their report."""
