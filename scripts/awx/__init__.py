"""The assets for AWX, generated from the playbooks and parameters.yml. `awx import` loads them."""
