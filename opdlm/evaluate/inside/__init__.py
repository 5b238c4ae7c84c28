"""What runs inside a sandbox. Nothing but the standard library is imported here; `opdlm.evaluate.sandbox` starts it."""
