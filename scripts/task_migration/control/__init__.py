"""What was done and who may do what next: journal, checklist, approvals, the operator's lock, switches."""
