"""The model under test: one protocol, one file a runtime. A framework is imported only in its own file, when it is used."""
