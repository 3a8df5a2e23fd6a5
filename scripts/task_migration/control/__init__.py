"""Records what was done and checks what may be done next: journal, checklist, approvals, operator's lock, switches."""
