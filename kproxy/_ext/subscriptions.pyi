"""Subscriptions and assignments of classic groups; see the .pxd."""
