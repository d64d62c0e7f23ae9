"""From the files of a cohort to minibatches and bags."""
