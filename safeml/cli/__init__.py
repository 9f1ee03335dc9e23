"""The commands, one file per group. They parse, call and print, without logic or framework imports at the top."""
