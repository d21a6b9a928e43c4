"""What a fit says of measurements that were not made: other times, doses, covariates, patients."""
