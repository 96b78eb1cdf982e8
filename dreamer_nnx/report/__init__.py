"""The page of runs: what their workdirs hold, as one HTML file."""
