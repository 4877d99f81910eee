"""How fast it is, against what does the same without it: ``make bench``, or ``python -m benchmarks.load`` alone.

Nothing here is a test and nothing fails for being slow: a busy machine would fail it. Each module is one comparison.
Its sides run turn by turn in processes of their own, so that whatever else the machine does happens to all of them.
"""
