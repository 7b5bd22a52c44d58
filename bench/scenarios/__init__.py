"""What is measured: a scenario is a frozen list of cases and a way to run them on a peer."""
