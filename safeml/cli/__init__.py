"""The commands, one file a group. They parse, call and print; no logic lives here, and no framework is imported at the top."""
