"""The other machine: a folder with a publisher's keys and models, from which media are written."""
