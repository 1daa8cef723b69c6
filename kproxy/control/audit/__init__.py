"""The way of an audit line from a worker's spool to the sink, and the questions that the sink answers."""
