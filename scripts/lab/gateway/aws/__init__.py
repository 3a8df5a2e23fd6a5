"""What of AWS is not moto's: one file for each service, one function for each thing it puts in moto's place."""
