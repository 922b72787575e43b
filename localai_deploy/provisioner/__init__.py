"""Rendering Ansible projects and running them."""
