"""The main job in two minutes: real clients, an embedded broker, an issuer and a node, narrated and asserted."""
