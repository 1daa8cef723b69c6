"""Pure: tokens and SASL messages in, a principal or a reasoned refusal out. Keys and the time are arguments."""
