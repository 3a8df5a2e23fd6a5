"""What AWX has to be told of the playbooks, made of the playbooks and of parameters.yml; `awx import` takes it."""
