"""Extensions of moto: one file for each service, one function for each behaviour that it adds or replaces."""
