"""The ladder: what kproxy costs on the data path, as ratios to other proxies in the same run. See README.md."""
