"""What tests and benches share: a real Kafka, a byte tap, one face over three clients, a running kproxy."""
