"""What commands are made of: flags of declared options, and `scaledproc.toml`. Backends have commands too."""
