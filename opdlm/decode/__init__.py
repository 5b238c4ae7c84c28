"""The rollout engine: scheduler, key/value cache, remasking strategies."""
