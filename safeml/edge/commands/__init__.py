"""The commands of `safeml-edge`, one module each with `register(subparsers)`; a module here is a command, no table lists it again."""
