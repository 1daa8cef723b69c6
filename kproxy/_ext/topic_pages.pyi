"""DescribeTopicPartitions; see the .pyx."""
