"""The tests; they mirror the tree that they test. `make test` runs them in a network namespace with no way out."""
